"""The keyspace against a plain dict, and what hangs on every change: sums, snapshots, slots, expiry."""

from __future__ import annotations

from binascii import crc_hqx
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from redoubt.data.key_slot import key_slot
from redoubt.data.keyspace import ACCESS_RECENT, Keyspace
from redoubt.data.memory import size_of, size_of_bytes
from redoubt.data.random_key import random_key
from redoubt.data.slot_tables import count_in_slot, delete_slot, keys_in_slot
from redoubt.data.snapshot_cursor import SnapshotCursor
from redoubt.data.table import Bucket
from redoubt.data.text import GrowableText, Value, text_bytes

NOW_MS = 1_700_000_000_000
# Few enough to meet, many enough for some splits and merges.
KEY_NUMBERS = st.integers(0, 400)
VALUES = st.one_of(st.binary(max_size=3), st.integers(-5, 5))


class Recorder(SnapshotCursor):
    """A snapshot that remembers what it was handed, as a writer would put it down."""

    def __init__(self, keyspace: Keyspace) -> None:
        super().__init__(keyspace)
        self.taken: list[tuple[bytes, bytes, int]] = []

    def take(self, items: list[tuple[bytes, Value, int]], bucket: Bucket) -> None:
        self.taken.extend([(key, text_bytes(value), due_ms) for key, value, due_ms in items])


def content(keyspace: Keyspace) -> list[tuple[bytes, bytes, int]]:
    """Return (key, string, expiry or 0) of every key, sorted."""
    rows = []
    for key in keyspace.all_keys():
        value = keyspace.get(key)
        assert value is not None
        rows.append((key, text_bytes(value), keyspace.expire_at(key)))
    return sorted(rows)


class KeyspaceMachine(RuleBasedStateMachine):
    """Random changes to a keyspace and to a dict, with snapshots that begin and proceed in between."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[bytes, bytes] = {}
        self.expiries: dict[bytes, int] = {}
        self.snapshots: list[tuple[Recorder, list[tuple[bytes, bytes, int]]]] = []

    @initialize(is_cluster=st.booleans(), filling=st.sampled_from([0, 50, 300]))
    def begin(self, is_cluster: bool, filling: int) -> None:
        self.keyspace = Keyspace(0, Random(1), is_cluster)
        for number in range(filling):
            self.set(number, b"%d" % number)

    def key(self, number: int) -> bytes:
        return b"{tag}%d" % number if number % 3 == 0 else b"key:%d" % number

    @rule(number=KEY_NUMBERS, value=VALUES)
    def set(self, number: int, value: Value) -> None:
        key = self.key(number)
        self.keyspace.set(key, value)
        self.values[key] = text_bytes(value)
        self.expiries.pop(key, None)

    @rule(numbers=st.tuples(KEY_NUMBERS, st.integers(1, 200)))
    def set_many(self, numbers: tuple[int, int]) -> None:
        for number in range(numbers[0], numbers[0] + numbers[1]):
            self.set(number, b"many")

    @rule(numbers=st.tuples(KEY_NUMBERS, st.integers(1, 200)))
    def delete_many(self, numbers: tuple[int, int]) -> None:
        for number in range(numbers[0], numbers[0] + numbers[1]):
            self.delete(number)

    @rule(number=KEY_NUMBERS, value=VALUES)
    def store(self, number: int, value: Value) -> None:
        self.keyspace.store(self.key(number), value)
        self.values[self.key(number)] = text_bytes(value)

    @rule(number=KEY_NUMBERS)
    def delete(self, number: int) -> None:
        key = self.key(number)
        assert self.keyspace.delete(key) == (key in self.values)
        self.values.pop(key, None)
        self.expiries.pop(key, None)

    @rule(number=KEY_NUMBERS, due_ms=st.integers(NOW_MS + 1, NOW_MS + 9))
    def expire(self, number: int, due_ms: int) -> None:
        key = self.key(number)
        if key in self.values:
            self.keyspace.set_expire(key, due_ms)
            self.expiries[key] = due_ms

    @rule(number=KEY_NUMBERS)
    def persist(self, number: int) -> None:
        key = self.key(number)
        assert self.keyspace.persist(key) == (key in self.expiries)
        self.expiries.pop(key, None)

    @rule(number=KEY_NUMBERS, tail=st.binary(min_size=1, max_size=3))
    def append(self, number: int, tail: bytes) -> None:
        key = self.key(number)
        value = self.keyspace.lookup(key, NOW_MS)
        if isinstance(value, GrowableText):
            before = self.keyspace.begin_change(key)
            value.append(tail)
            self.keyspace.end_change(value, before)
        else:
            value = GrowableText(self.values.get(key, b"") + tail)
            self.keyspace.store(key, value)
        self.values[key] = value.content()

    @rule()
    def flush(self) -> None:
        self.keyspace.flush(is_lazy=True)
        self.values.clear()
        self.expiries.clear()

    @rule()
    def swap(self) -> None:
        other = Keyspace(1, Random(2), self.keyspace.is_cluster)
        self.keyspace.swap(other)
        other.swap(self.keyspace)
        other.set(b"elsewhere", b"x")

    @precondition(lambda self: len(self.snapshots) < 3)
    @rule()
    def begin_snapshot(self) -> None:
        self.snapshots.append((Recorder(self.keyspace), content(self.keyspace)))

    @precondition(lambda self: self.snapshots)
    @rule(index=st.integers(0, 2), steps=st.integers(1, 20))
    def advance_snapshot(self, index: int, steps: int) -> None:
        recorder, expected = self.snapshots[index % len(self.snapshots)]
        for _ in range(steps):
            if not recorder.advance():
                assert sorted(recorder.taken) == expected
                self.snapshots.remove((recorder, expected))
                break

    @invariant()
    def agrees_with_the_dict(self) -> None:
        keyspace = self.keyspace
        assert len(keyspace) == len(self.values)
        assert keyspace.expiring_count == len(self.expiries)
        assert content(keyspace) == sorted(
            (key, value, self.expiries.get(key, 0)) for key, value in self.values.items()
        )

    @invariant()
    def sums_of_bytes_are_what_a_walk_would_find(self) -> None:
        values = [self.keyspace.get(key) for key in self.values]
        assert self.keyspace.value_bytes == sum(size_of(value) for value in values if value is not None)
        assert self.keyspace.key_bytes == sum(size_of_bytes(key) for key in self.values)
        for table in self.keyspace.tables:
            found = (
                {} if table is None else {k: v for bucket in table.buckets for k, v in bucket.values.items()}
            )
            walked = sum(size_of_bytes(key) + size_of(value) for key, value in found.items())
            assert (0 if table is None else table.content_bytes) == walked

    @invariant()
    def list_of_buckets_is_complete(self) -> None:
        buckets = self.keyspace.buckets
        assert [bucket.place for bucket in buckets] == list(range(len(buckets)))
        tables = [table for table in self.keyspace.tables if table is not None]
        assert {id(bucket) for table in tables for bucket in table.buckets} == {
            id(bucket) for bucket in buckets
        }
        assert sum(table.key_count for table in tables) == len(self.keyspace)

    def teardown(self) -> None:
        for recorder, expected in self.snapshots:
            while recorder.advance():
                pass
            assert sorted(recorder.taken) == expected
        if hasattr(self, "keyspace"):
            assert self.keyspace.snapshots == []


TestKeyspaceAgainstADict = KeyspaceMachine.TestCase
TestKeyspaceAgainstADict.settings = settings(
    max_examples=60, stateful_step_count=30, derandomize=True, deadline=None
)


def test_a_snapshot_keeps_the_old_value_of_a_string_that_grows_in_place() -> None:
    keyspace = Keyspace(0, Random(1), False)
    text = GrowableText(b"old")
    keyspace.set(b"k", text)
    recorder = Recorder(keyspace)
    before = keyspace.begin_change(b"k")
    text.append(b"new")
    keyspace.end_change(text, before)
    while recorder.advance():
        pass
    assert recorder.taken == [(b"k", b"old", 0)]


@pytest.mark.parametrize("untouched", ["last", "target"])
def test_a_bucket_that_merges_before_its_turn_is_handed_out_first(untouched: str) -> None:
    keyspace = Keyspace(0, Random(1), False)
    for number in range(513):
        keyspace.set(b"key:%d" % number, b"old")
    assert len(keyspace.buckets) == 9
    target, last = keyspace.buckets[0], keyspace.buckets[8]
    spared = set(last.values if untouched == "last" else target.values)
    recorder = Recorder(keyspace)
    expected = content(keyspace)
    for key in keyspace.all_keys():
        if key not in spared:
            keyspace.delete(key)
    assert len(keyspace.buckets) < 9
    for key in keyspace.all_keys():
        keyspace.set(key, b"new")
    while recorder.advance():
        pass
    assert sorted(recorder.taken) == expected


def test_an_abandoned_snapshot_is_handed_nothing_more() -> None:
    keyspace = Keyspace(0, Random(1), False)
    keyspace.set(b"k", b"old")
    recorder = Recorder(keyspace)
    recorder.finish()
    recorder.finish()
    keyspace.set(b"k", b"new")
    assert recorder.taken == []
    assert not recorder.advance()


def test_a_flush_leaves_the_old_tables_to_older_snapshots_only() -> None:
    keyspace = Keyspace(0, Random(1), False)
    keyspace.set(b"k", b"old")
    older = Recorder(keyspace)
    keyspace.flush()
    newer = Recorder(keyspace)
    keyspace.set(b"k", b"new")
    for recorder in (older, newer):
        while recorder.advance():
            pass
    assert older.taken == [(b"k", b"old", 0)]
    assert newer.taken == []


def test_an_expired_key_is_gone_when_it_is_asked_for() -> None:
    keyspace = Keyspace(0, Random(1), False)
    told: list[tuple[int, bytes]] = []

    def listen(database: int, key: bytes) -> bool:
        told.append((database, key))
        return True

    keyspace.on_expired = listen
    keyspace.set(b"k", b"v")
    keyspace.set_expire(b"k", NOW_MS)
    changes = keyspace.changes
    assert keyspace.lookup(b"k", NOW_MS) == b"v"  # Redis: expired only after its millisecond
    assert keyspace.lookup(b"k", NOW_MS + 1) is None
    assert told == [(0, b"k")]
    assert len(keyspace) == 0
    assert keyspace.changes == changes


def test_an_expired_key_is_only_hidden_when_the_listener_forbids_its_deletion() -> None:
    keyspace = Keyspace(0, Random(1), False)
    keyspace.on_expired = lambda database, key: False
    keyspace.set(b"k", b"v")
    keyspace.set_expire(b"k", NOW_MS)
    assert keyspace.lookup(b"k", NOW_MS + 1) is None
    assert keyspace.peek(b"k", NOW_MS + 1) is None
    assert len(keyspace) == 1
    assert keyspace.lookup(b"k", 0) == b"v"  # a command of our master, who has not let it expire


def test_lru_moves_a_used_key_behind_its_neighbours() -> None:
    keyspace = Keyspace(0, Random(1), False)
    keyspace.remember_accesses(ACCESS_RECENT)
    for key in (b"a", b"b", b"c"):
        keyspace.set(key, b"v")
    keyspace.lookup(b"a", NOW_MS)
    keyspace.set(b"b", b"w")
    assert keyspace.all_keys() == [b"c", b"a", b"b"]
    keyspace.peek(b"c", NOW_MS)
    assert keyspace.all_keys() == [b"c", b"a", b"b"]


def test_random_keys_are_drawn_evenly_although_buckets_differ_in_size() -> None:
    keyspace = Keyspace(0, Random(5), True)
    keys = [b"{one}%d" % number for number in range(90)] + [b"other:%d" % number for number in range(10)]
    for key in keys:
        keyspace.set(key, b"v")
    drawn = dict.fromkeys(keys, 0)
    for _ in range(20_000):
        drawn[random_key(keyspace) or b""] += 1
    assert min(drawn.values()) > 120
    assert max(drawn.values()) < 290


def test_the_keys_of_a_slot_are_listed_counted_and_deleted() -> None:
    keyspace = Keyspace(0, Random(1), True)
    slot = key_slot(b"{tag}")
    tagged = {b"{tag}%d" % number for number in range(300)}
    for key in tagged:
        keyspace.set(key, b"v")
    keyspace.set_expire(b"{tag}7", NOW_MS)
    keyspace.set(b"other", b"v")
    assert set(keys_in_slot(keyspace, slot, 1000)) == tagged
    assert len(keys_in_slot(keyspace, slot, 10)) == 10
    assert count_in_slot(keyspace, slot) == 300
    assert delete_slot(keyspace, slot) == 300
    assert delete_slot(keyspace, slot) == 0
    assert keyspace.all_keys() == [b"other"]
    assert keyspace.expiring_count == 0
    assert keyspace.value_bytes == size_of(b"v")


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo{bar", b"foo{bar"),
        (b"}a{", b"}a{"),
    ],
)
def test_a_hash_tag_decides_the_slot(key: bytes, tag: bytes) -> None:
    assert key_slot(key) == crc_hqx(tag, 0) % 16384


def test_slots_are_those_of_the_specification() -> None:
    assert key_slot(b"123456789") == 0x31C3
    assert key_slot(b"foo{}{bar}") == 8363
    assert key_slot(b"") == 0


def test_scan_in_cluster_mode_covers_all_slots_and_ends() -> None:
    keyspace = Keyspace(0, Random(1), True)
    keys = {b"key:%d" % number for number in range(500)} | {b"{t}%d" % number for number in range(500)}
    for key in keys:
        keyspace.set(key, b"v")
    found: list[bytes] = []
    cursor, batch = keyspace.scan(0, 10)
    found += batch
    while cursor:
        cursor, batch = keyspace.scan(cursor, 10)
        found += batch
    assert sorted(found) == sorted(keys)


def test_random_keys_are_found_where_each_slot_holds_one() -> None:
    keyspace = Keyspace(0, Random(5), True)
    for number in range(50):
        keyspace.set(b"key:%d" % number, b"v")
    assert len({random_key(keyspace) for _ in range(500)}) > 40
