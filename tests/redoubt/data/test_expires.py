"""Active expiry: what is due goes, by bounded steps, and idle databases cost next to nothing."""

from __future__ import annotations

from random import Random

from redoubt.data.expires import KEYS_DELETED_MAX, ActiveExpiry
from redoubt.data.keyspace import Keyspace

NOW_MS = 1_700_000_000_000


def filled(count: int, due_ms: int, database: int = 0) -> Keyspace:
    keyspace = Keyspace(database, Random(database), False)
    for number in range(count):
        key = b"key:%d" % number
        keyspace.set(key, b"v")
        keyspace.set_expire(key, due_ms)
    return keyspace


def test_keys_that_nobody_asks_for_are_deleted() -> None:
    keyspace = filled(1000, NOW_MS - 1)
    expiry = ActiveExpiry([keyspace])
    assert expiry.run(NOW_MS) == 1000
    assert len(keyspace) == 0
    assert not expiry.is_behind


def test_keys_that_are_not_due_stay() -> None:
    keyspace = filled(500, NOW_MS)
    assert ActiveExpiry([keyspace]).run(NOW_MS) == 0
    assert len(keyspace) == 500


def test_one_call_deletes_a_bounded_number_and_says_that_it_is_behind() -> None:
    keyspace = filled(3 * KEYS_DELETED_MAX, NOW_MS - 1)
    expiry = ActiveExpiry([keyspace])
    assert KEYS_DELETED_MAX <= expiry.run(NOW_MS) < KEYS_DELETED_MAX + 200
    assert expiry.is_behind
    calls = 1
    while expiry.is_behind:
        expiry.run(NOW_MS)
        calls += 1
    assert len(keyspace) == 0
    assert calls <= 4


def test_a_busy_database_does_not_keep_others_waiting_for_ever() -> None:
    keyspaces = [filled(4 * KEYS_DELETED_MAX, NOW_MS - 1, 0), filled(10, NOW_MS - 1, 1)]
    expiry = ActiveExpiry(keyspaces)
    for _ in range(6):
        expiry.run(NOW_MS)
    assert [len(keyspace) for keyspace in keyspaces] == [0, 0]


def test_few_stale_keys_among_many_are_found_in_the_course_of_the_calls() -> None:
    keyspace = filled(20_000, NOW_MS + 10_000)
    for number in range(0, 20_000, 100):
        keyspace.set_expire(b"key:%d" % number, NOW_MS - 1)
    expiry = ActiveExpiry([keyspace])
    deleted = [expiry.run(NOW_MS) for _ in range(400)]
    assert sum(deleted) == 200
    assert max(deleted) <= 20  # a share of 1 % is tolerated: no call hunts for it


def test_a_single_expiry_among_very_many_keys_is_found() -> None:
    keyspace = filled(1, NOW_MS - 1)
    for number in range(100_000):
        keyspace.set(b"other:%d" % number, b"v")
    expiry = ActiveExpiry([keyspace])
    calls = 0
    while keyspace.expiring_count:
        expiry.run(NOW_MS)
        calls += 1
    assert calls <= 6


def test_a_listener_that_forbids_deletion_ends_no_cycle_in_an_endless_loop() -> None:
    keyspace = filled(1000, NOW_MS - 1)
    keyspace.on_expired = lambda database, key: False
    assert ActiveExpiry([keyspace]).run(NOW_MS) == 0
    assert len(keyspace) == 1000


def test_more_effort_tolerates_less() -> None:
    deleted = []
    for effort in (1, 10):
        keyspace = filled(20_000, NOW_MS + 10_000)
        for number in range(0, 20_000, 20):
            keyspace.set_expire(b"key:%d" % number, NOW_MS - 1)
        expiry = ActiveExpiry([keyspace])
        expiry.effort = effort
        deleted.append(sum(expiry.run(NOW_MS) for _ in range(10)))
    assert deleted[0] < 300 < deleted[1]


def test_the_average_lifetime_is_seen_on_the_way() -> None:
    keyspace = filled(1000, NOW_MS + 5_000)
    expiry = ActiveExpiry([keyspace])
    for _ in range(50):
        expiry.run(NOW_MS)
    assert keyspace.average_ttl_ms == 5_000
