"""Leader election: the rule with literal clocks, and two operators with one Lease on a real HTTP server."""

from __future__ import annotations

import asyncio

import pytest

from redoubt_operator import election as election_module
from redoubt_operator.election import Candidate, Election, Record, Step, lease_of, record_of
from tests.redoubt_operator.fake_api import FakeApi, run, serve

LEASE_PATH = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/redoubt-operator"
OTHER = Record(holder="other", transitions=4, renewed_at="then", version="7")


def test_lease_that_does_not_exist_is_taken() -> None:
    assert Candidate("me").see(Record(), 0.0, is_held=False) is Step.ACQUIRE


def test_lease_of_another_is_left_alone_until_it_was_unchanged_for_its_duration() -> None:
    candidate = Candidate("me")
    assert candidate.see(OTHER, 100.0, is_held=False) is Step.WAIT
    assert candidate.see(OTHER, 107.9, is_held=False) is Step.WAIT
    assert candidate.see(OTHER, 108.0, is_held=False) is Step.ACQUIRE


def test_renewal_by_the_other_starts_the_wait_anew() -> None:
    candidate = Candidate("me")
    candidate.see(OTHER, 100.0, is_held=False)
    renewed = Record(holder="other", transitions=4, renewed_at="later", version="8")
    assert candidate.see(renewed, 107.0, is_held=False) is Step.WAIT
    assert candidate.see(renewed, 114.9, is_held=False) is Step.WAIT


def test_released_lease_is_taken_at_once() -> None:
    released = Candidate("other").released(OTHER, "now")
    assert Candidate("me").see(released, 0.0, is_held=False) is Step.ACQUIRE


def test_lease_of_our_dead_predecessor_of_the_same_name_is_taken_as_a_new_leadership() -> None:
    candidate = Candidate("other")
    assert candidate.see(OTHER, 0.0, is_held=False) is Step.ACQUIRE
    assert candidate.acquired(OTHER, "now").transitions == 5


def test_our_own_lease_is_renewed_without_a_transition() -> None:
    candidate = Candidate("other")
    assert candidate.see(OTHER, 0.0, is_held=True) is Step.RENEW
    assert candidate.renewed(OTHER, "now").transitions == 4


def test_number_that_a_server_has_seen_is_exceeded_at_the_next_renewal() -> None:
    candidate = Candidate("me")
    mine = candidate.acquired(Record(), "now")
    assert mine.transitions == 1
    candidate.raise_transitions(9)
    assert candidate.renewed(mine, "later").transitions == 10


def test_lease_object_says_what_the_record_says() -> None:
    record = Record("me", 8, 3, "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:05.000000Z", "12")
    assert record_of(lease_of(record, "ns")) == record


def test_second_operator_waits_and_takes_over_at_once_after_a_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(election_module, "LEASE_RETRY_S", 0.01)

    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            first, second = Election(kube, "ns", "first"), Election(kube, "ns", "second")
            await first.acquire()
            assert first.is_leader and first.transitions == 1
            waiting = asyncio.create_task(second.acquire())
            await asyncio.sleep(0.1)
            assert not waiting.done() and not second.is_leader
            await first.release()
            assert not first.is_leader
            await waiting
            assert second.is_leader and second.transitions == 2
            spec = api.objects[LEASE_PATH]["spec"]
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 2)

    run(scenario())


def test_leader_that_finds_its_lease_with_another_is_told_that_it_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(election_module, "LEASE_RETRY_S", 0.01)

    async def scenario() -> None:
        api = FakeApi()
        reasons: list[str] = []
        async with serve(api) as kube:
            election = Election(kube, "ns", "first")
            await election.acquire()
            api.put(LEASE_PATH, lease_of(Record("second", 8, 2, "", "", ""), "ns"))
            await election.keep(reasons.append)
        assert reasons == ["the Lease is held by second"]

    run(scenario())


def test_leader_that_cannot_renew_stops_leading_before_its_lease_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(election_module, "LEASE_RETRY_S", 0.01)
    monkeypatch.setattr(election_module, "LEASE_RENEW_DEADLINE_S", 0.2)

    async def scenario() -> None:
        api = FakeApi()
        reasons: list[str] = []
        async with serve(api) as kube:
            election = Election(kube, "ns", "first")
            await election.acquire()
            api.answers = [(500, {})] * 10_000
            await election.keep(reasons.append)
            assert not election.is_leader
        assert reasons == ["the Lease could not be renewed for 0.2 s"]

    run(scenario())


def test_answer_that_got_lost_does_not_lose_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that reached the server unanswered makes the next one conflict with ourselves."""
    monkeypatch.setattr(election_module, "LEASE_RETRY_S", 0.01)

    async def scenario() -> None:
        api = FakeApi()
        reasons: list[str] = []
        async with serve(api) as kube:
            election = Election(kube, "ns", "first")
            await election.acquire()
            api.put(LEASE_PATH, api.objects[LEASE_PATH])
            version = api.version
            keeping = asyncio.create_task(election.keep(reasons.append))
            while api.version < version + 3:
                await asyncio.sleep(0.01)
            assert election.is_leader and not reasons
            keeping.cancel()

    run(scenario())


def test_release_of_a_lease_that_is_not_ours_writes_nothing() -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            await Election(kube, "ns", "first").release()
        assert api.requests == []

    run(scenario())
