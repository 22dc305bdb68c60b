"""Sets in all three forms against a plain set."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.limits import Limits
from redoubt.data.memory import size_of_bytes
from redoubt.data.set import MemberSet

MEMBERS = st.one_of(st.integers(0, 12).map(lambda number: b"%d" % number), st.binary(max_size=3))
STEPS = st.lists(st.tuples(st.booleans(), MEMBERS), max_size=60)


def small_limits() -> Limits:
    limits = Limits()
    limits.set_integers, limits.set_members, limits.set_bytes = 6, 8, 2
    return limits


@given(STEPS)
def test_a_set_is_a_set_in_every_form(steps: list[tuple[bool, bytes]]) -> None:
    limits, target, model = small_limits(), MemberSet(), set[bytes]()
    for is_added, member in steps:
        if is_added:
            assert target.add(member, limits) == (member not in model)
            model.add(member)
        else:
            assert target.remove(member) == (member in model)
            model.discard(member)
        assert target.count() == len(model)
        assert target.has(member) == (member in model)
    assert sorted(target.members()) == sorted(model)
    if target.encoding_name() == b"intset":
        assert all(member.lstrip(b"-").isdigit() for member in model) and len(model) <= limits.set_integers
    elif target.encoding_name() == b"listpack":
        assert len(model) <= limits.set_members
    else:
        assert target.table is not None
        assert target.table.element_bytes == sum(size_of_bytes(member) for member in model)
    twin = target.copy()
    target.add(b"another", limits)
    assert isinstance(twin, MemberSet) and sorted(twin.members()) == sorted(model)


def test_random_members_are_drawn_evenly() -> None:
    for first in (b"%d", b"m%d", b"x" * 70 + b"%d"):
        target, limits = MemberSet(), Limits()
        for number in range(20):
            target.add(first % number, limits)
        random, drawn = Random(1), dict[bytes, int]()
        for _ in range(20_000):
            member = target.random_member(random)
            drawn[member] = drawn.get(member, 0) + 1
        assert len(drawn) == 20
        assert max(drawn.values()) < 1.25 * min(drawn.values())


def test_many_members_at_once_make_a_table_at_once() -> None:
    limits, target = small_limits(), MemberSet()
    target.expect(b"1", 7, limits)
    assert target.encoding_name() == b"hashtable"
    target = MemberSet()
    target.expect(b"1", 6, limits)
    assert target.encoding_name() == b"intset"


@given(st.lists(MEMBERS, min_size=1, max_size=40, unique=True), st.integers(0, 1000))
def test_popping_takes_every_member_once_in_every_form(members: list[bytes], seed: int) -> None:
    for limits in (Limits(), small_limits()):
        found = MemberSet()
        for member in members:
            found.add(member, limits)
        random = Random(seed)
        taken = []
        while found.count():
            before = found.members()
            taken.append(found.pop_random(random))
            assert sorted([*found.members(), taken[-1]]) == sorted(before)
        assert sorted(taken) == sorted(members)
