"""The final placement: whole, balanced, with the fewest bytes moved, and the same every time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt_operator.observation import SlotFigures, SlotRange
from redoubt_operator.placement import (
    SLOTS,
    UNIT,
    moves_of,
    place,
    ranges_of,
    slot_ranges,
    slots_in,
    weigh,
)

EVEN = weigh(())


def even(shards: int) -> dict[int, tuple[SlotRange, ...]]:
    return {shard: (one,) for shard, one in enumerate(slot_ranges(shards))}


def as_ranges(placed: dict[int, list[int]]) -> dict[int, tuple[SlotRange, ...]]:
    return {shard: ranges_of(slots) for shard, slots in placed.items()}


def carried_out(owned, placed) -> dict[int, tuple[SlotRange, ...]]:
    """The placement after every move has been made, and nothing else."""
    held = {shard: set(slots_in(ranges)) for shard, ranges in owned.items()}
    for (source, target), ranges in moves_of(owned, placed).items():
        held[source] -= set(slots_in(ranges))
        held.setdefault(target, set()).update(slots_in(ranges))
    return {shard: ranges_of(slots) for shard, slots in held.items()}


def test_a_fourth_shard_gets_the_upper_ends_of_the_three():
    owned = even(3)
    placed = place(owned, range(4), EVEN)
    assert moves_of(owned, placed) == {
        (0, 3): (SlotRange(4096, 5460),),
        (1, 3): (SlotRange(9557, 10921),),
        (2, 3): (SlotRange(15018, 16383),),
    }


def test_what_a_leaving_shard_holds_goes_back_to_its_neighbours():
    owned = as_ranges(place(even(3), range(4), EVEN))
    placed = place(owned, range(3), EVEN)
    assert sorted(len(slots) for slots in placed.values()) == [5461, 5461, 5462]
    assert {pair[0] for pair in moves_of(owned, placed)} == {3}
    assert max(len(ranges) for ranges in as_ranges(placed).values()) <= 2


def test_one_three_twelve_three_moves_no_slot_twice_on_one_way():
    owned = even(1)
    for shards in (3, 12, 3):
        placed = place(owned, range(shards), EVEN)
        moved = [slot for ranges in moves_of(owned, placed).values() for slot in slots_in(ranges)]
        stays = sum(min(len(slots_in(owned.get(one, ()))), len(placed[one])) for one in placed)
        assert len(moved) <= SLOTS - stays + shards  # the roundings
        owned = carried_out(owned, placed)
        assert [len(slots_in(owned[one])) for one in range(shards)] == [
            len(placed[one]) for one in range(shards)
        ]
        sizes = [len(placed[one]) for one in range(shards)]
        assert max(sizes) - min(sizes) <= 1
        owned = {shard: owned[shard] for shard in range(shards)}


def test_bytes_and_load_weigh_as_much_as_the_slots_themselves():
    weights = weigh([SlotFigures(0, 10, 3 << 30, 0), SlotFigures(1, 10, 1 << 30, 1 << 40)])
    assert weights[0] == UNIT + UNIT * SLOTS * 3 // 4
    assert weights[1] == UNIT + UNIT * SLOTS // 4 + UNIT * SLOTS
    assert weights[2] == UNIT


def test_a_few_keys_do_not_tilt_the_cluster():
    weights = weigh([SlotFigures(0, 100, 10_000, 5_000)])
    placed = place(even(2), range(2), weights)
    assert abs(len(placed[0]) - len(placed[1])) <= 4


def test_a_heavy_slot_stays_and_the_light_ones_move():
    weights = weigh([SlotFigures(100, 1, 10**9)])
    placed = place(even(2), range(2), weights)
    assert 100 in placed[0]
    assert len(placed[0]) < len(placed[1])


def test_lesson_05_no_single_target_gets_everything_of_a_leaving_shard():
    placed = place(even(4), range(3), EVEN)
    received = [sum(1 for slot in placed[one] if slot not in slots_in(even(4)[one])) for one in range(3)]
    assert max(received) <= SLOTS // 4 // 3 + 1


WEIGHTS = st.lists(
    st.tuples(st.integers(0, SLOTS - 1), st.integers(1, 10**9), st.integers(0, 10**6)), max_size=40
).map(lambda rows: weigh(SlotFigures(slot, 1, size, load) for slot, size, load in rows))


@st.composite
def owners(draw) -> dict[int, tuple[SlotRange, ...]]:
    """Any complete placement: contiguous parts dealt out to any shards."""
    cuts = sorted(draw(st.sets(st.integers(1, SLOTS - 1), max_size=12)))
    held: dict[int, list[SlotRange]] = {}
    for first, after in pairwise([0, *cuts, SLOTS]):
        held.setdefault(draw(st.integers(0, 5)), []).append(SlotRange(first, after - 1))
    return {shard: tuple(ranges) for shard, ranges in sorted(held.items())}


@given(owned=owners(), shards=st.integers(1, 8), weights=WEIGHTS)
@settings(max_examples=15, deadline=None)
def test_every_slot_exactly_once_balanced_with_few_moves_and_stable(owned, shards, weights):
    staying = range(shards)
    placed = place(owned, staying, weights)
    assert sorted(slot for slots in placed.values() for slot in slots) == list(range(SLOTS))
    assert placed == place(dict(reversed(owned.items())), staying, weights)

    held = {shard: sum(weights[slot] for slot in slots) for shard, slots in placed.items()}
    lightest = min(held.values())
    for shard, slots in placed.items():
        assert not slots or held[shard] - lightest <= min(weights[slot] for slot in slots)

    before = {shard: sum(weights[slot] for slot in slots_in(ranges)) for shard, ranges in owned.items()}
    share = sum(weights) / shards
    surplus = sum(
        max(0.0, weight - share) if shard in staying else weight for shard, weight in before.items()
    )
    moved = sum(weights[slot] for ranges in moves_of(owned, placed).values() for slot in slots_in(ranges))
    assert moved <= surplus + shards * max(weights)

    after = {shard: ranges for shard, ranges in carried_out(owned, placed).items() if ranges}
    assert moves_of(after, place(after, staying, weights)) == {}
