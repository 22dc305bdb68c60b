"""How keys were used survives a restart: counters of LFU, idle times and order of LRU."""

from __future__ import annotations

import pytest

from redoubt.data.use import store_used
from redoubt.persist.payload import dump
from tests.redoubt.harness import Harness

KEYS = 300


def again(harness: Harness, policy: str) -> Harness:
    """Save, and start another server on the file."""
    harness.connect().ask("SAVE")
    files = dict(harness.files)
    later = Harness("--maxmemory-policy", policy, files=files)
    later.turn()
    return later


@pytest.mark.parametrize("policy", ["allkeys-lfu", "volatile-lfu"])
def test_counters_are_kept_under_lfu(policy: str) -> None:
    harness = Harness("--maxmemory-policy", policy)
    client = harness.connect()
    for number in range(KEYS):
        client.ask("RESTORE", f"key:{number}", 0, dump(b"v"), "FREQ", number % 256)
    later = again(harness, policy).connect()
    assert [later.ask("OBJECT", "FREQ", f"key:{number}") for number in range(KEYS)] == [
        number % 256 for number in range(KEYS)
    ]


def test_idle_times_and_order_are_kept_under_lru() -> None:
    harness = Harness("--maxmemory-policy", "allkeys-lru")
    client = harness.connect()
    for number in range(40):
        client.ask("SET", f"key:{number}", "v")
    for number in (7, 3):
        client.ask("GET", f"key:{number}")
    harness.advance(90_000)
    later = again(harness, "allkeys-lru")
    (keyspace, *_) = later.node.state.keyspaces
    order = keyspace.all_keys()
    assert order == harness.node.state.keyspaces[0].all_keys()
    assert order[-2:] == [b"key:7", b"key:3"]
    assert later.connect().ask("OBJECT", "IDLETIME", "key:0") == 90


def test_the_longer_idle_of_two_comes_first_whatever_their_order_in_the_file() -> None:
    harness = Harness("--maxmemory-policy", "allkeys-lru")
    (keyspace, *_) = harness.node.state.keyspaces
    for key, idle_s in ((b"young", 5), (b"old", 500), (b"youngest", 1)):
        store_used(keyspace, key, b"v", idle_s, -1)
    assert keyspace.all_keys() == [b"old", b"young", b"youngest"]
    assert harness.connect().ask("OBJECT", "IDLETIME", "young") == 1


@pytest.mark.parametrize(("policy", "mark"), [
    ("allkeys-lru", b"\xf8\x00"), ("allkeys-lfu", b"\xf9\x05"), ("noeviction", b""), ("volatile-ttl", b""),
])  # fmt: skip
def test_a_hint_is_written_only_under_a_policy_that_uses_it(policy: str, mark: bytes) -> None:
    harness = Harness("--maxmemory-policy", policy, "--rdbcompression", "no")
    client = harness.connect()
    client.ask("SET", "k", "text")
    client.ask("SAVE")
    before, _, _ = harness.files["/data/dump.rdb"].partition(b"\x00\x01k\x04text")
    assert before.endswith(b"\xfb\x01\x00" + mark)


def test_a_policy_that_counts_nothing_drops_the_hints() -> None:
    harness = Harness("--maxmemory-policy", "allkeys-lfu")
    harness.connect().ask("SET", "k", "v")
    assert again(harness, "noeviction").connect().ask("GET", "k") == b"v"
