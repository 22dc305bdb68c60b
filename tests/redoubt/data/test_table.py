"""The table of small dicts: splitting, merging, and a SCAN that misses nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.table import KEYS_PER_BUCKET, Table


def grow(table: Table, first: int, past: int) -> None:
    """Add the keys of these numbers as the keyspace does."""
    for number in range(first, past):
        key = b"%d" % number
        table.bucket_of(key).values[key] = number
        table.key_count += 1
        if table.wants_split():
            table.split()


def shrink(table: Table, first: int, past: int) -> None:
    for number in range(first, past):
        key = b"%d" % number
        del table.bucket_of(key).values[key]
        table.key_count -= 1
        if table.wants_merge():
            table.merge()


def test_every_key_is_found_while_the_directory_grows_and_shrinks() -> None:
    table = Table(0)
    for count in range(0, 3000, 100):
        grow(table, count, count + 100)
        assert all(
            table.bucket_of(b"%d" % number).values[b"%d" % number] == number for number in range(count)
        )
    for count in range(0, 3000, 100):
        shrink(table, count, count + 100)
        for number in range(count + 100, 3000):
            assert table.bucket_of(b"%d" % number).values[b"%d" % number] == number
    assert table.key_count == 0
    assert len(table.buckets) == 1
    assert table.mask == 0


def test_one_insert_splits_at_most_one_bucket() -> None:
    table = Table(0)
    for number in range(5000):
        before = len(table.buckets)
        grow(table, number, number + 1)
        assert len(table.buckets) - before <= 1
    assert len(table.buckets) == -(-5000 // KEYS_PER_BUCKET)


def test_a_split_keeps_the_order_of_access_and_moves_what_lies_beside_the_values() -> None:
    table = Table(7)
    grow(table, 0, KEYS_PER_BUCKET)
    bucket = table.buckets[0]
    bucket.expiries = dict.fromkeys(bucket.values, 5)
    bucket.frequencies = dict.fromkeys(bucket.values, 6)
    order = list(bucket.values)
    half = table.split()
    assert half.saved_by == 7
    for part in table.buckets:
        assert list(part.values) == [key for key in order if key in part.values]
        assert set(part.expiries) == set(part.values) == set(part.frequencies)
    assert sum(len(part.values) for part in table.buckets) == KEYS_PER_BUCKET


def test_a_merge_undoes_a_split() -> None:
    table = Table(0)
    grow(table, 0, 200)
    keys = {key for bucket in table.buckets for key in bucket.values}
    while len(table.buckets) > 1:
        table.merge()
    assert set(table.buckets[0].values) == keys
    assert table.buckets[0].depth == 0


def test_halved_buckets_are_known_while_a_doubling_is_under_way() -> None:
    table = Table(0)
    for _ in range(4):
        table.split()  # 5 buckets of 8: the first has been halved, with the last as its other half
    assert [table.is_halved(bucket) for bucket in table.buckets] == [True, False, False, False, True]
    for _ in range(3):
        table.split()
    assert not any(table.is_halved(bucket) for bucket in table.buckets)


@given(st.lists(st.integers(-400, 400), max_size=30), st.integers(0, 800))
def test_scan_returns_every_key_that_stays_whatever_else_comes_and_goes(
    swings: list[int], staying: int
) -> None:
    table = Table(0)
    for number in range(staying):
        key = b"stays:%d" % number
        table.bucket_of(key).values[key] = number
        table.key_count += 1
        if table.wants_split():
            table.split()
    others = 0
    found: list[bytes] = []
    cursor = table.scan(0, found)
    step = 0
    while cursor:
        if step < len(swings):  # the table grows or shrinks between two calls
            target = max(0, others + swings[step] * 8)
            if target > others:
                grow(table, others, target)
            else:
                shrink(table, target, others)
            others = target
        step += 1
        cursor = table.scan(cursor, found)
    assert {b"stays:%d" % number for number in range(staying)} <= set(found)


def test_a_scan_of_a_table_at_rest_returns_each_key_once() -> None:
    table = Table(0)
    grow(table, 0, 1000)
    found: list[bytes] = []
    cursor = table.scan(0, found)
    while cursor:
        cursor = table.scan(cursor, found)
    assert sorted(found) == sorted(b"%d" % number for number in range(1000))
