"""Eviction: the dataset stays below its limit, and the right keys go."""

from __future__ import annotations

from random import Random

import pytest

from redoubt.data.eviction import VICTIMS_MAX, Evictor, time_limit_us
from redoubt.data.frequency import decayed_counter
from redoubt.data.keyspace import Keyspace
from redoubt.data.memory import used_memory

NOW_MS = 1_700_000_000_000
POLICIES = (
    "allkeys-lru",
    "volatile-lru",
    "allkeys-lfu",
    "volatile-lfu",
    "allkeys-random",
    "volatile-random",
    "volatile-ttl",
)


def evictor_of(policy: str, keyspaces: list[Keyspace]) -> Evictor:
    evictor = Evictor(keyspaces, Random(3))
    evictor.follow(0, policy, 10, 1)
    return evictor


def filled(count: int, database: int = 0, is_cluster: bool = False) -> Keyspace:
    """Make a keyspace whose even keys expire, the sooner the lower their number."""
    keyspace = Keyspace(database, Random(database + 1), is_cluster)
    fill(keyspace, count)
    return keyspace


def fill(keyspace: Keyspace, count: int) -> None:
    for number in range(count):
        key = b"key:%d" % number
        keyspace.set(key, b"v" * 50)
        if number % 2 == 0:
            keyspace.set_expire(key, NOW_MS + 1000 + number)


@pytest.mark.parametrize("is_cluster", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_dataset_is_brought_below_the_limit(policy: str, is_cluster: bool) -> None:
    keyspace = filled(2000, is_cluster=is_cluster)
    evictor = evictor_of(policy, [keyspace])
    victims: list[bytes] = []
    evictor.on_evicted = lambda database, key: victims.append(key)
    evictor.limit_bytes = used_memory([keyspace]) * 9 // 10
    assert evictor.make_room(NOW_MS)
    assert used_memory([keyspace]) <= evictor.limit_bytes
    assert len(victims) + len(keyspace) == 2000
    assert len(victims) == len(set(victims)) > 0
    if policy.startswith("volatile"):
        assert all(int(key[4:]) % 2 == 0 for key in victims)


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_that_may_go_means_no_room(policy: str) -> None:
    keyspace = Keyspace(0, Random(1), False)
    if policy.startswith("volatile"):
        keyspace.set(b"persistent", b"v")
    evictor = evictor_of(policy, [keyspace])
    evictor.limit_bytes = 1
    assert evictor.make_room(NOW_MS) is (len(keyspace) == 0)
    assert len(keyspace) == int(policy.startswith("volatile"))


def test_noeviction_frees_nothing() -> None:
    keyspace = filled(10)
    evictor = evictor_of("noeviction", [keyspace])
    evictor.limit_bytes = 1
    assert not evictor.make_room(NOW_MS)
    assert len(keyspace) == 10
    evictor.limit_bytes = 0
    assert evictor.make_room(NOW_MS)


def test_one_call_has_a_limit_and_says_that_it_is_behind() -> None:
    keyspace = filled(VICTIMS_MAX + 500)
    evictor = evictor_of("allkeys-random", [keyspace])
    evictor.limit_bytes = 1
    assert evictor.make_room(NOW_MS)
    assert evictor.is_behind
    assert len(keyspace) == 500


def test_lru_keeps_what_is_used() -> None:
    keyspace = Keyspace(0, Random(1), False)
    evictor = evictor_of("allkeys-lru", [keyspace])
    fill(keyspace, 3000)
    used = [b"key:%d" % number for number in range(0, 3000, 10)]
    for key in used:
        keyspace.lookup(key, NOW_MS)
    evictor.limit_bytes = used_memory([keyspace]) * 3 // 4
    evictor.make_room(NOW_MS)
    assert len(keyspace) < 2500
    assert all(keyspace.get(key) is not None for key in used)


def test_lru_hit_rate_is_that_of_true_lru_within_a_point() -> None:
    random = Random(7)
    universe, capacity, accesses = 4000, 800, 40_000
    weights = [1 / (rank + 1) for rank in range(universe)]
    asked = random.choices([b"key:%d" % rank for rank in range(universe)], weights, k=accesses)
    keyspace = Keyspace(0, Random(1), False)
    evictor = evictor_of("allkeys-lru", [keyspace])
    true_lru: dict[bytes, None] = {}
    hits = true_hits = 0
    for key in asked:
        if key in true_lru:
            true_hits += 1
            del true_lru[key]
        true_lru[key] = None
        if len(true_lru) > capacity:
            del true_lru[next(iter(true_lru))]
        if keyspace.lookup(key, NOW_MS) is not None:
            hits += 1
            continue
        keyspace.set(key, b"v")
        while len(keyspace) > capacity:
            evictor.limit_bytes = used_memory([keyspace]) - 1
            evictor.make_room(NOW_MS)
    assert abs(hits - true_hits) / accesses < 0.01


def test_lfu_keeps_what_is_used_often() -> None:
    keyspace = Keyspace(0, Random(1), False)
    keyspace.clock_ms = NOW_MS
    evictor = evictor_of("allkeys-lfu", [keyspace])
    fill(keyspace, 2000)
    often = [b"key:%d" % number for number in range(0, 2000, 20)]
    for _ in range(30):
        for key in often:
            keyspace.lookup(key, NOW_MS)
    evictor.limit_bytes = used_memory([keyspace]) * 3 // 4
    evictor.make_room(NOW_MS)
    assert all(keyspace.get(key) is not None for key in often)


def test_leaving_an_lfu_policy_forgets_the_counters() -> None:
    keyspace = Keyspace(0, Random(1), False)
    evictor = evictor_of("allkeys-lfu", [keyspace])
    keyspace.set(b"k", b"v")
    assert decayed_counter(keyspace.buckets[0].frequencies[b"k"], keyspace.clock_ms, 1) == 5
    evictor.follow(0, "allkeys-lru", 10, 1)
    assert keyspace.buckets[0].frequencies == {}


def test_ttl_takes_what_expires_soonest() -> None:
    keyspace = filled(60)
    evictor = evictor_of("volatile-ttl", [keyspace])
    victims: list[bytes] = []
    evictor.on_evicted = lambda database, key: victims.append(key)
    for _ in range(3):
        evictor.limit_bytes = used_memory([keyspace]) - 1
        evictor.make_room(NOW_MS)
    assert victims == [b"key:0", b"key:2", b"key:4"]


def test_every_database_gives_in_proportion_to_its_keys() -> None:
    keyspaces = [filled(1800, 0), filled(200, 1), Keyspace(2, Random(9), False)]
    evictor = evictor_of("allkeys-random", keyspaces)
    evicted = [0, 0, 0]

    def count(database: int, key: bytes) -> None:
        evicted[database] += 1

    evictor.on_evicted = count
    evictor.limit_bytes = used_memory(keyspaces) * 3 // 4
    evictor.make_room(NOW_MS)
    assert evicted[0] > 5 * evicted[1] > 0
    assert evicted[2] == 0


def test_writers_do_not_outrun_eviction() -> None:
    keyspace = filled(20_000)
    evictor = evictor_of("allkeys-lru", [keyspace])
    evictor.pace(1, 5)
    limit = evictor.limit_bytes = used_memory([keyspace])
    value = b"x" * 300_000
    highest = 0
    for number in range(200):
        assert evictor.make_room(NOW_MS)
        keyspace.set(b"large:%d" % number, value)
        highest = max(highest, used_memory([keyspace]))
    # A hundred victims each time would free 10 KB; 60 MB were written.
    assert highest <= limit + max(limit // 64, 65536) + 2 * 301_000


def test_a_lowered_limit_is_reached_in_pieces() -> None:
    keyspace = filled(5000)
    evictor = evictor_of("allkeys-random", [keyspace])
    evictor.limit_bytes = used_memory([keyspace]) // 2
    sizes = [len(keyspace)]
    while True:
        assert evictor.make_room(NOW_MS)
        sizes.append(len(keyspace))
        if not evictor.is_behind:
            break
    assert sizes[:3] == [5000, 4000, 3000]
    assert used_memory([keyspace]) <= evictor.limit_bytes


def test_tenacity_is_time() -> None:
    assert [time_limit_us(tenacity) for tenacity in (0, 1, 10)] == [0, 50, 500]
    assert [round(time_limit_us(tenacity)) for tenacity in (11, 50, 99)] == [575, 133_932, 126_205_359]


def test_a_call_ends_when_its_time_is_over() -> None:
    keyspace = filled(2000)
    readings = [0]

    def clock_us() -> int:
        readings[0] += 200
        return readings[0]

    evictor = Evictor([keyspace], Random(1), clock_us)
    evictor.follow(1, "allkeys-random", 10, 1)
    assert evictor.make_room(NOW_MS)
    assert evictor.is_behind
    assert len(keyspace) == 2000 - 3 * 16  # the clock is read after every 16 victims
    evictor.pace(100, 5)
    assert evictor.make_room(NOW_MS)
    assert (len(keyspace), evictor.is_behind) == (0, False)


def test_more_samples_find_better_victims_of_ttl() -> None:
    found = []
    for samples in (5, 100):
        keyspace = filled(20_000)
        evictor = evictor_of("volatile-ttl", [keyspace])
        evictor.pace(10, samples)
        victims: list[int] = []

        def note(database: int, key: bytes, victims: list[int] = victims) -> None:
            victims.append(int(key[4:]))

        evictor.on_evicted = note
        evictor.limit_bytes = used_memory([keyspace]) - 5000
        evictor.make_room(NOW_MS)
        found.append(sum(victims) / len(victims))
    assert found[1] < found[0]
