"""The work queue: who is taken when, driven by a clock of literals; and the workers on a real loop."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt_operator.workqueue import BACKOFF_MAX_S, Key, Schedule, Workqueue

A = Key("ns", "a")
B = Key("ns", "b")
C = Key("ns", "c")


def test_key_added_ten_times_is_taken_once() -> None:
    schedule = Schedule(settle_s=0.0)
    for n in range(10):
        schedule.add(A, float(n))
    assert schedule.take(10.0) == A
    assert schedule.take(10.0) is None


def test_ordinary_key_settles_before_it_is_taken() -> None:
    schedule = Schedule(settle_s=0.05)
    schedule.add(A, 1.0)
    assert schedule.take(1.04) is None
    assert schedule.next_due_s() == pytest.approx(1.05)
    assert schedule.take(1.06) == A


def test_events_that_keep_coming_do_not_postpone_a_key() -> None:
    schedule = Schedule(settle_s=0.05)
    schedule.add(A, 1.0)
    schedule.add(A, 1.04)
    assert schedule.take(1.05) == A


def test_fast_lane_is_taken_at_once_and_before_all_others() -> None:
    schedule = Schedule(settle_s=0.0)
    schedule.add(A, 0.0)
    schedule.add(B, 0.0)
    schedule.add(C, 5.0, is_fast=True)
    assert [schedule.take(5.0), schedule.take(5.0), schedule.take(5.0)] == [C, A, B]


def test_fast_request_hurries_a_key_that_rests_until_later() -> None:
    schedule = Schedule()
    schedule.add_at(A, 60.0)
    schedule.add(A, 3.0, is_fast=True)
    assert schedule.take(3.0) == A


def test_key_at_work_is_not_taken_a_second_time() -> None:
    schedule = Schedule(settle_s=0.0)
    schedule.add(A, 0.0)
    assert schedule.take(0.0) == A
    schedule.add(A, 0.0)
    assert schedule.take(1.0) is None


def test_key_added_while_at_work_is_due_once_more_afterwards() -> None:
    schedule = Schedule(settle_s=0.0)
    schedule.add(A, 0.0)
    schedule.take(0.0)
    schedule.add(A, 1.0)
    schedule.add(A, 1.0)
    schedule.done(A, 2.0)
    assert schedule.take(2.0) == A
    schedule.done(A, 3.0)
    assert schedule.take(100.0) is None


def test_plan_that_wants_another_look_gets_it_after_its_delay() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0, is_fast=True)
    schedule.take(0.0)
    schedule.done(A, 1.0, again_after_s=0.5)
    assert schedule.take(1.4) is None
    assert schedule.take(1.5) == A


def test_pauses_double_up_to_the_limit_and_start_anew_after_success() -> None:
    schedule = Schedule(settle_s=0.0)
    pauses = []
    now_s = 0.0
    for _ in range(12):
        schedule.add(A, now_s, is_fast=True)
        assert schedule.take(now_s) == A
        pauses.append(schedule.failed(A, now_s))
        now_s += 100.0
        assert schedule.take(now_s) == A
        schedule._give_back(A)
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses[-1] == BACKOFF_MAX_S
    schedule.add(A, now_s, is_fast=True)
    schedule.take(now_s)
    schedule.done(A, now_s)
    schedule.add(A, now_s, is_fast=True)
    schedule.take(now_s)
    assert schedule.failed(A, now_s) == 0.2


def test_event_during_a_failing_reconciliation_waits_for_the_pause() -> None:
    schedule = Schedule(settle_s=0.0)
    schedule.add(A, 0.0)
    schedule.take(0.0)
    schedule.add(A, 0.1)
    pause_s = schedule.failed(A, 1.0)
    assert schedule.take(1.0) is None
    assert schedule.take(1.0 + pause_s) == A


def test_death_of_a_server_during_a_failing_reconciliation_does_not_wait() -> None:
    schedule = Schedule(settle_s=0.0)
    schedule.add(A, 0.0)
    schedule.take(0.0)
    schedule.add(A, 0.1, is_fast=True)
    schedule.failed(A, 1.0)
    assert schedule.take(1.0) == A


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "fast", "later", "take", "done", "failed"]), st.sampled_from([A, B, C])
    ),
    max_size=60,
)


@given(STEPS)
def test_no_request_is_lost_and_no_key_works_twice(steps: list[tuple[str, Key]]) -> None:
    """Model: a key is wanted from its request until it is taken; after an error it is wanted again."""
    schedule = Schedule()
    wanted: set[Key] = set()
    working: set[Key] = set()
    now_s = 0.0
    for step, key in steps:
        now_s += 0.01
        match step:
            case "add" | "fast":
                schedule.add(key, now_s, is_fast=step == "fast")
                wanted.add(key)
            case "later":
                schedule.add_at(key, now_s + 3.0)
                wanted.add(key)
            case "take":
                taken = schedule.take(now_s)
                if taken is not None:
                    assert taken in wanted and taken not in working
                    wanted.discard(taken)
                    working.add(taken)
            case "done" if key in working:
                schedule.done(key, now_s)
                working.discard(key)
            case "failed" if key in working:
                schedule.failed(key, now_s)
                working.discard(key)
                wanted.add(key)
    for key in list(working):
        schedule.done(key, now_s)
    drained = []
    while (taken := schedule.take(now_s + 1000.0)) is not None:
        drained.append(taken)
    assert sorted(drained) == sorted(wanted)


def test_workers_reconcile_different_keys_at_once_but_one_key_never_twice() -> None:
    async def scenario() -> None:
        at_work: list[Key] = []
        most = 0
        order: list[Key] = []
        proceed = asyncio.Event()

        async def work(key: Key) -> float | None:
            nonlocal most
            assert key not in at_work
            at_work.append(key)
            most = max(most, len(at_work))
            await proceed.wait()
            at_work.remove(key)
            order.append(key)
            return None

        queue = Workqueue(work, workers=4, schedule=Schedule(settle_s=0.0))
        queue.start()
        for key in (A, B, A, C, A):
            queue.add(key)
        while len(at_work) < 3:
            await asyncio.sleep(0)
        queue.add(A)
        proceed.set()
        while len(order) < 4:
            await asyncio.sleep(0)
        await queue.stop()
        assert most == 3
        assert sorted(order) == [A, A, B, C]

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_reconciliation_that_raises_is_tried_again_and_others_go_on() -> None:
    async def scenario() -> None:
        seen: list[Key] = []

        async def work(key: Key) -> float | None:
            seen.append(key)
            if key == A and seen.count(A) == 1:
                raise RuntimeError("broken once")
            return None

        queue = Workqueue(work, workers=1, schedule=Schedule(settle_s=0.0))
        queue.start()
        queue.add(A)
        queue.add(B)
        while seen.count(A) < 2:
            await asyncio.sleep(0.01)
        await queue.stop()
        assert seen == [A, B, A]

    asyncio.run(asyncio.wait_for(scenario(), 10))
