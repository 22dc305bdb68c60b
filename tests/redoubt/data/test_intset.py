"""Intsets against a plain set of integers, at every change of width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import intset

EDGES = [2**power + add for power in (15, 31) for add in (-1, 0)] + [2**63 - 1]
NUMBERS = st.one_of(st.integers(-5, 5), st.sampled_from([*EDGES, *(-1 - edge for edge in EDGES)]))


@given(st.lists(st.tuples(st.booleans(), NUMBERS), max_size=60))
def test_an_intset_is_a_sorted_set(steps: list[tuple[bool, int]]) -> None:
    pack, model = intset.EMPTY, set[int]()
    for is_added, number in steps:
        assert intset.has(pack, number) == (number in model)
        if is_added and number not in model:
            pack = intset.added(pack, number)
            model.add(number)
        elif not is_added and number in model:
            pack = intset.removed(pack, number)
            model.remove(number)
        assert intset.is_sound(pack)
        assert intset.numbers(pack) == sorted(model)
    assert intset.numbers(intset.build(sorted(model))) == sorted(model)


def test_the_bytes_are_those_of_the_format() -> None:
    assert intset.build([-1, 5]) == bytes.fromhex("02000000 02000000 ffff 0500")
    assert intset.added(intset.build([5]), 70_000) == bytes.fromhex("04000000 02000000 05000000 70110100")


@given(st.sets(NUMBERS, min_size=1, max_size=8), st.data())
def test_a_damaged_intset_is_not_sound_or_harmless(numbers: set[int], data: st.DataObject) -> None:
    whole = intset.build(sorted(numbers))
    pack = bytearray(whole)
    pack[data.draw(st.integers(0, len(pack) - 1))] ^= data.draw(st.integers(1, 255))
    if intset.is_sound(bytes(pack)):
        found = intset.numbers(bytes(pack))
        assert found == sorted(set(found))
    for cut in range(len(whole)):
        assert not intset.is_sound(whole[:cut])
