"""When the runtime ticks the node: as soon as a turn leaves a wish, and whatever the wall clock does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from random import Random

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from redoubt.config import Config
from redoubt.interfaces import LISTEN_CLIENT, CloseListener
from redoubt.node import TICK_MS, Node
from redoubt.runtime.clock import Clock
from redoubt.runtime.loop import Runtime
from tests.redoubt.harness import free_port


class Process:
    """A runtime whose wall clock the test sets."""

    def __init__(self) -> None:
        config = Config()
        config.assign([("port", [str(free_port())]), ("bind", ["127.0.0.1"]), ("save", [""])], is_start=True)
        self.loop = uvloop.new_event_loop()
        self.jumped_ms = 0
        clock = Clock(self.wall_ns)
        self.node = Node(config, Random(1), clock.now_ms())
        self.runtime = Runtime(self.node, self.loop, clock)
        self.runtime.start(b"")
        self.turn(0.02)

    def wall_ns(self) -> int:
        return time.time_ns() + self.jumped_ms * 1_000_000

    def turn(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def until_ticked(self) -> int:
        """Wait for the next tick; return its clock reading."""
        before_ms = self.node.ticked_ms
        for _ in range(5000):
            self.turn(0.001)
            if self.node.ticked_ms != before_ms:
                return self.node.ticked_ms
        raise AssertionError("no tick")

    def end(self) -> None:
        self.node.state.effects.append(CloseListener(LISTEN_CLIENT))
        self.runtime.begin_turn()
        self.turn(0.02)
        self.loop.close()


@pytest.fixture
def process() -> Iterator[Process]:
    running = Process()
    yield running
    running.end()


def test_a_wish_of_a_turn_brings_the_planned_tick_forward(process: Process) -> None:
    lateness_ms = []
    for _ in range(5):
        regular_ms = process.until_ticked() + TICK_MS
        assert process.runtime.tick_due_ms == regular_ms
        now_ms = process.runtime.begin_turn()
        process.node.state.blocking.pause("test", False, now_ms + 5)
        process.turn(0)
        process.turn(0)
        assert process.runtime.tick_due_ms == now_ms + 5
        while process.node.state.blocking.pauses:
            process.until_ticked()  # a timer may be a fraction of a millisecond early
        lateness_ms.append(process.node.ticked_ms - now_ms - 5)
    # A loaded machine may come late once, not five times.
    assert min(lateness_ms) < 20


def test_a_wish_for_later_leaves_the_planned_tick_alone(process: Process) -> None:
    regular_ms = process.until_ticked() + TICK_MS
    process.node.state.blocking.pause("test", False, process.runtime.begin_turn() + 5000)
    process.turn(0)
    process.turn(0)
    assert process.runtime.tick_due_ms == regular_ms


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_ticks_go_on_when_the_wall_clock_jumps(process: Process, jump_ms: int) -> None:
    before_ms = process.until_ticked()
    process.jumped_ms = jump_ms
    for _ in range(3):
        ticked_ms = process.until_ticked()
    # Three ticks took no hour, and time went on by what passed, or by the jump forward.
    assert max(jump_ms, 0) < ticked_ms - before_ms < max(jump_ms, 0) + 5_000
    assert process.runtime.tick_due_ms == ticked_ms + TICK_MS
    assert process.runtime.faults == 0


class Times:
    """A wall clock and a steady one that the test sets."""

    def __init__(self) -> None:
        self.wall_ms = 1_700_000_000_000
        self.steady_ms = 5_000

    def pass_by(self, duration_ms: int) -> None:
        self.wall_ms += duration_ms
        self.steady_ms += duration_ms

    def clock(self) -> Clock:
        return Clock(lambda: self.wall_ms * 1_000_000, lambda: self.steady_ms * 1_000_000)


def test_the_clock_is_the_wall_clock_as_long_as_that_goes_forward() -> None:
    times = Times()
    clock = times.clock()
    for step_ms in (0, 1, 100, 3_600_000):
        times.pass_by(step_ms)
        assert clock.now_ms() == times.wall_ms
    times.wall_ms += 7_200_000
    assert clock.now_ms() == times.wall_ms


def test_a_wall_clock_that_was_set_back_is_waited_for_at_nine_tenths_of_the_speed() -> None:
    times = Times()
    clock = times.clock()
    began_ms = times.wall_ms
    times.wall_ms -= 1_000
    assert clock.now_ms() == began_ms
    times.pass_by(1_000)
    assert clock.now_ms() == began_ms + 900
    times.pass_by(8_000)
    assert clock.now_ms() == began_ms + 8_100
    times.pass_by(1_000)
    assert clock.now_ms() == times.wall_ms == began_ms + 9_000
    times.pass_by(50)
    assert clock.now_ms() == times.wall_ms


@given(st.lists(st.tuples(st.integers(-(10**7), 10**7), st.integers(0, 10**5)), max_size=50))
def test_the_clock_never_goes_back_and_never_stands_still(steps: list[tuple[int, int]]) -> None:
    times = Times()
    clock = times.clock()
    now_ms = clock.now_ms()
    for jump_ms, passed_ms in steps:
        times.wall_ms += jump_ms
        times.pass_by(passed_ms)
        later_ms = clock.now_ms()
        assert later_ms >= now_ms + passed_ms * 9 // 10
        now_ms = later_ms
