"""Slots: hash tags, and the algebra of sets of slots against plain Python sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from redoubt.cluster import slots
from redoubt.cluster.slots import ALL_SLOTS, SLOTS

SLOT_SETS = st.sets(st.integers(0, SLOTS - 1), max_size=60)


def test_known_keys_lie_in_the_slots_that_the_specification_gives() -> None:
    assert slots.key_slot(b"123456789") == 12739
    assert slots.key_slot(b"foo") == 12182
    assert slots.key_slot(b"") == 0


def test_only_the_first_hash_tag_counts_and_only_if_it_is_not_empty() -> None:
    assert slots.key_slot(b"{user1000}.following") == slots.key_slot(b"user1000")
    assert slots.key_slot(b"foo{}{bar}") != slots.key_slot(b"bar")
    assert slots.key_slot(b"foo{{bar}}zap") == slots.key_slot(b"{bar")
    assert slots.key_slot(b"foo{bar}{zap}") == slots.key_slot(b"bar")


@given(SLOT_SETS)
def test_a_mask_holds_exactly_its_slots(members: set[int]) -> None:
    mask = slots.mask_of(members)
    assert list(slots.slots_of(mask)) == sorted(members)
    assert slots.count(mask) == len(members)


@given(SLOT_SETS)
def test_ranges_of_a_mask_are_maximal_and_lead_back_to_it(members: set[int]) -> None:
    mask = slots.mask_of(members)
    ranges = slots.ranges_of(mask)
    assert slots.mask_of_ranges(ranges) == mask
    assert all(second[0] > first[1] + 1 for first, second in pairwise(ranges))
    assert slots.parse_ranges(slots.format_ranges(ranges)) == ranges


@given(SLOT_SETS)
def test_the_bitmap_of_the_bus_puts_slot_n_into_bit_n_mod_8_of_byte_n_div_8(members: set[int]) -> None:
    bitmap = slots.mask_to_bitmap(slots.mask_of(members))
    assert {slot for slot in range(SLOTS) if bitmap[slot // 8] >> slot % 8 & 1} == members
    assert slots.bitmap_to_mask(bitmap) == slots.mask_of(members)


def test_three_shards_get_the_ranges_of_redis_cli() -> None:
    assert slots.spread_evenly(3) == [(0, 5460), (5461, 10922), (10923, 16383)]


@given(st.integers(1, 200))
def test_every_slot_is_given_once_and_sizes_differ_by_one_at_most(shards: int) -> None:
    ranges = slots.spread_evenly(shards)
    sizes = [last - first + 1 for first, last in ranges]
    assert slots.mask_of_ranges(ranges) == ALL_SLOTS
    assert sum(sizes) == SLOTS
    assert max(sizes) - min(sizes) <= 1


def test_malformed_ranges_are_refused() -> None:
    for text in ("x", "5-", "-5", "7-3", "16384", "1-2-3"):
        try:
            slots.parse_ranges(text)
        except ValueError:
            continue
        raise AssertionError(text)
