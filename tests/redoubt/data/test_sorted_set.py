"""Sorted sets in both forms against a plain dict that is sorted anew each time."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import listpack
from redoubt.data.limits import Limits
from redoubt.data.sorted_set import Bound, SortedSet, is_sound_sorted_set
from redoubt.resp.doubles import double_text

MEMBERS = st.one_of(st.integers(0, 8).map(lambda number: b"%d" % number), st.binary(max_size=2))
SCORES = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([0.1, -2.5, math.inf, -math.inf, 1e300]))
STEPS = st.lists(st.tuples(st.sampled_from(["put", "put", "put", "remove"]), MEMBERS, SCORES), max_size=50)


def limits_of(members: int) -> Limits:
    limits = Limits()
    limits.zset_members = members
    return limits


def build(model: dict[bytes, float], members_max: int) -> SortedSet:
    target, limits = SortedSet(), limits_of(members_max)
    for member, score in model.items():
        target.put(member, score, limits)
    return target


@given(STEPS, st.sampled_from([0, 4, 100]))
def test_a_sorted_set_is_a_dict_sorted_by_score(
    steps: list[tuple[str, bytes, float]], members_max: int
) -> None:
    target, limits, model = SortedSet(), limits_of(members_max), dict[bytes, float]()
    for what, member, score in steps:
        if what == "put":
            target.put(member, score, limits)
            model[member] = score
        else:
            assert target.remove(member) == (model.pop(member, None) is not None)
        assert target.has(member) == (member in model)
        assert target.count() == len(model)
    ordered = sorted(model.items(), key=lambda pair: (pair[1], pair[0]))
    assert target.slice(0, len(model)) == ordered
    assert [target.at(rank) for rank in range(len(model))] == ordered
    assert [target.rank_of(member) for member, _ in ordered] == list(range(len(model)))
    assert {member: target.score_of(member) for member in model} == model
    if target.table is None:
        assert is_sound_sorted_set(target.packed) or not model
    twin = target.copy()
    target.put(b"another", 1.0, limits)
    assert isinstance(twin, SortedSet) and twin.slice(0, twin.count()) == ordered


@given(
    st.dictionaries(MEMBERS, SCORES, max_size=12), SCORES, SCORES, st.booleans(), st.booleans(),
    st.sampled_from([0, 100]),
)  # fmt: skip
def test_ranges_by_score_are_those_of_the_model(
    model: dict[bytes, float], low: float, high: float, has_low: bool, has_high: bool, members_max: int
) -> None:
    target = build(model, members_max)
    first, past = target.ranks_by_score(Bound(low, b"", has_low), Bound(high, b"", has_high))
    ordered = sorted(model.items(), key=lambda pair: (pair[1], pair[0]))
    above = [pair for pair in ordered if low < pair[1] or (has_low and low == pair[1])]
    expected = [pair for pair in above if pair[1] < high or (has_high and high == pair[1])]
    assert target.slice(first, past) == expected


@given(
    st.sets(MEMBERS, max_size=12), MEMBERS, MEMBERS, st.booleans(), st.booleans(), st.sampled_from([0, 100])
)
def test_ranges_by_member_are_those_of_the_model(
    members: set[bytes], low: bytes, high: bytes, has_low: bool, has_high: bool, members_max: int
) -> None:
    target = build(dict.fromkeys(sorted(members), 0.0), members_max)
    first, past = target.ranks_by_member(Bound(0, low, has_low), Bound(0, high, has_high))
    expected = [
        member
        for member in sorted(members)
        if (low < member or (has_low and low == member)) and (member < high or (has_high and high == member))
    ]
    assert [member for member, _ in target.slice(first, past)] == expected
    assert target.ranks_by_member(None, None) == (0, len(members))


def test_random_members_are_drawn_evenly() -> None:
    for members_max in (0, 100):
        target = build({b"m%d" % number: float(number) for number in range(20)}, members_max)
        random, drawn = Random(1), dict[bytes, int]()
        for _ in range(20_000):
            member, score = target.random_pair(random)
            assert member == b"m%d" % int(score)
            drawn[member] = drawn.get(member, 0) + 1
        assert len(drawn) == 20 and max(drawn.values()) < 1.25 * min(drawn.values())


def test_a_pack_from_outside_must_be_in_order() -> None:
    assert is_sound_sorted_set(listpack.build([b"a", b"1", b"b", b"1.5"]))
    assert not is_sound_sorted_set(listpack.build([b"b", b"1.5", b"a", b"1"]))
    assert not is_sound_sorted_set(listpack.build([b"b", b"1", b"a", b"1"]))
    assert not is_sound_sorted_set(listpack.build([b"a", b"1", b"a", b"2"]))
    assert not is_sound_sorted_set(listpack.build([b"a", b"1", b"b"]))
    assert not is_sound_sorted_set(listpack.build([b"a", b"x"]))
    assert not is_sound_sorted_set(listpack.build([b"a", b"nan"]))
    assert not is_sound_sorted_set(listpack.EMPTY)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, b"3"),
        (-0.0, b"-0"),
        (0.1, b"0.1"),
        (1e15, b"1000000000000000"),
        (1e16, b"1e+16"),
        (1.5e-7, b"1.5e-7"),
        (1e-6, b"0.000001"),
        (0.00012345, b"1.2345e-4"),
        (0.0012345, b"0.0012345"),
        (1.2345678901234568e20, b"123456789012345680000"),
        (1e300, b"1e+300"),
        (5e-324, b"5e-324"),
        (-1.7976931348623157e308, b"-1.7976931348623157e+308"),
        (math.inf, b"inf"),
        (-math.inf, b"-inf"),
        (math.nan, b"nan"),
    ],
)
def test_doubles_are_spelled_as_by_redis(value: float, text: bytes) -> None:
    assert double_text(value) == text


@given(st.floats(allow_nan=False))
def test_a_double_reads_back_equal(value: float) -> None:
    assert float(double_text(value)) == value


@given(st.dictionaries(MEMBERS, SCORES, min_size=1, max_size=20), st.sampled_from([2, 128]), st.data())
def test_popped_ranks_are_returned_and_gone(
    model: dict[bytes, float], members_max: int, data: st.DataObject
) -> None:
    found = build(model, members_max)
    pairs = found.slice(0, found.count())
    first = data.draw(st.integers(0, len(pairs) - 1))
    past = data.draw(st.integers(first + 1, len(pairs)))
    assert found.pop_ranks(first, past) == pairs[first:past]
    assert found.slice(0, found.count()) == pairs[:first] + pairs[past:]
    assert not any(found.has(member) for member, _ in pairs[first:past])
