"""How long a shard had no serving master, told from looks and from ends of links."""

from __future__ import annotations

from redoubt_operator.observation import (
    ClusterMeta,
    Member,
    MemberStatus,
    Observation,
    Outage,
    Phase,
    Pod,
    Role,
    Unknown,
)
from redoubt_operator.outages import LOOK_AGAIN_S, LOOK_HARD_FOR_S, Outages

META = ClusterMeta("ns", "cache", "uid", 1)
GONE = Unknown("connection refused", 0.0)


def serving(started_at_s: float, now_s: float, epoch: int = 1) -> MemberStatus:
    uptime_ms = int((now_s - started_at_s) * 1000)
    return MemberStatus("n", Phase.ASSIGNED, Role.MASTER, config_epoch=epoch, slots=100, uptime_ms=uptime_ms)


def replica() -> MemberStatus:
    return MemberStatus("r", Phase.ASSIGNED, Role.REPLICA)


def seen(**statuses: MemberStatus | Unknown) -> Observation:
    """A look at shard 0 with one pod for each argument."""
    pods = tuple(
        Pod(name=f"cache-{uid}", uid=uid, resource_version="1", shard=0, serial=0) for uid in statuses
    )
    members = tuple(Member(uid, status, (), {}, GONE) for uid, status in statuses.items())
    return Observation(META, 1, pods, (), (), (), (), None, (), members, {})


def test_kill_is_measured_from_the_end_of_the_link_to_the_first_look_at_a_successor() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100), b=replica()), 100)
    assert outages.link_ended("a", 130.0)
    outages.looked(seen(a=GONE, b=replica()), 130.1)
    assert outages.all() == (Outage(0, 130.0, None, "cache-a"),)
    assert outages.look_again_s(130.1) == LOOK_AGAIN_S
    outages.looked(seen(a=GONE, b=serving(0, 130.7, epoch=2)), 130.7)
    assert outages.all() == (Outage(0, 130.0, 130.7, "cache-a", "cache-b"),)
    assert outages.look_again_s(130.7) is None


def test_end_of_a_replicas_link_is_no_outage() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100), b=replica()), 100)
    assert not outages.link_ended("b", 130.0)
    outages.looked(seen(a=serving(0, 131), b=GONE), 131)
    assert outages.all() == ()


def test_frozen_master_is_measured_from_the_first_look_that_finds_nobody_serving() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100), b=replica()), 100)
    outages.looked(seen(a=GONE, b=replica()), 105)
    outages.looked(seen(a=GONE, b=serving(0, 109, epoch=2)), 109)
    assert outages.all() == (Outage(0, 105, 109, "cache-a", "cache-b"),)


def test_silence_that_ends_with_the_same_run_of_the_same_process_is_forgotten() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100)), 100)
    outages.looked(seen(a=GONE), 105)
    outages.looked(seen(a=serving(0, 110)), 110)
    assert outages.all() == ()


def test_master_that_restarted_and_serves_again_was_out() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100)), 100)
    outages.link_ended("a", 105.0)
    outages.looked(seen(a=GONE), 105.1)
    outages.looked(seen(a=serving(105.5, 107)), 107)
    assert outages.all() == (Outage(0, 105.0, 107, "cache-a", "cache-a"),)


def test_failover_that_was_over_before_the_next_look_is_measured_to_that_look() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100), b=replica()), 100)
    outages.link_ended("a", 130.0)
    outages.looked(seen(a=GONE, b=serving(0, 130.2, epoch=2)), 130.2)
    assert outages.all() == (Outage(0, 130.0, 130.2, "cache-a", "cache-b"),)


def test_handover_takes_no_time() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100), b=replica()), 100)
    outages.looked(seen(a=replica(), b=serving(0, 101, epoch=2)), 101)
    assert outages.all() == (Outage(0, 101, 101, "cache-a", "cache-b"),)


def test_first_look_at_a_shard_without_master_is_no_outage() -> None:
    outages = Outages()
    outages.looked(seen(a=GONE, b=replica()), 100)
    assert outages.all() == ()
    assert outages.look_again_s(100) is None


def test_of_two_that_believe_they_serve_the_higher_epoch_is_right() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100, epoch=1), b=replica()), 100)
    outages.looked(seen(a=serving(0, 101, epoch=1), b=serving(0, 101, epoch=2)), 101)
    assert outages.all() == (Outage(0, 101, 101, "cache-a", "cache-b"),)


def test_long_outage_is_not_looked_at_hard_for_ever() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100)), 100)
    outages.looked(seen(a=GONE), 105)
    assert outages.look_again_s(105 + LOOK_HARD_FOR_S) is None


def test_look_without_pods_decides_nothing() -> None:
    outages = Outages()
    outages.looked(seen(a=serving(0, 100)), 100)
    blind = Observation(META, 1, GONE, (), (), (), (), None, (), (), {})
    outages.looked(blind, 105)
    assert outages.all() == ()
