"""Hashes in both forms against a plain dict."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import listpack
from redoubt.data.hash import Hash, is_sound_hash
from redoubt.data.memory import size_of_bytes

FIELDS = st.one_of(st.integers(0, 12).map(lambda number: b"%d" % number), st.binary(max_size=3))
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "remove", "unpack"]), FIELDS, st.binary(max_size=6)), max_size=60
)
ENTRIES_MAX = 8


@given(STEPS)
def test_a_hash_is_a_dict_in_either_form(steps: list[tuple[str, bytes, bytes]]) -> None:
    target, model = Hash(), dict[bytes, bytes]()
    for what, field, value in steps:
        if what == "put":
            assert target.put(field, value, ENTRIES_MAX) == (field not in model)
            model[field] = value
        elif what == "remove":
            assert target.remove(field) == (model.pop(field, None) is not None)
        elif len(model) > ENTRIES_MAX // 2:
            target.unpack()
        assert target.count() == len(model)
        assert target.table is not None or target.count() <= ENTRIES_MAX
    assert dict(target.pairs()) == model
    assert sorted(target.fields()) == sorted(model)
    assert {field: target.get(field) for field in model} == model
    assert target.get(b"missing") is None
    twin = target.copy()
    target.put(b"another", b"1", ENTRIES_MAX)
    assert isinstance(twin, Hash) and dict(twin.pairs()) == model


@given(STEPS)
def test_the_size_of_a_table_is_that_of_its_elements(steps: list[tuple[str, bytes, bytes]]) -> None:
    target = Hash()
    target.unpack()
    for what, field, value in steps:
        if what == "put":
            target.put(field, value, 0)
        else:
            target.remove(field)
    assert target.table is not None
    expected = sum(size_of_bytes(field) + size_of_bytes(value) for field, value in target.pairs())
    assert target.table.element_bytes == expected


def test_a_scan_sees_every_field_that_stays_while_the_table_grows_and_shrinks() -> None:
    target = Hash()
    target.unpack()
    staying = [b"stays:%d" % number for number in range(500)]
    for field in staying:
        target.put(field, b"v", 0)
    cursor, seen, turn = 0, set[bytes](), 0
    while True:
        cursor, pairs = target.scan(cursor, 10)
        seen.update(field for field, _ in pairs)
        if cursor == 0:
            break
        turn += 1
        for number in range(200):
            field = b"goes:%d:%d" % (turn % 4, number)
            if turn % 8 < 4:
                target.put(field, b"v", 0)
            else:
                target.remove(field)
    assert seen >= set(staying)


def test_random_pairs_are_drawn_evenly() -> None:
    for is_table in (False, True):
        target = Hash()
        for number in range(20):
            target.put(b"f%d" % number, b"v%d" % number, 100)
        if is_table:
            target.unpack()
        random, drawn = Random(1), dict[bytes, int]()
        for _ in range(20_000):
            field, value = target.random_pair(random)
            assert value == b"v" + field[1:]
            drawn[field] = drawn.get(field, 0) + 1
        assert len(drawn) == 20
        assert max(drawn.values()) < 1.25 * min(drawn.values())


def test_a_pack_from_outside_must_be_whole_pairs_of_different_fields() -> None:
    assert is_sound_hash(listpack.build([b"f", b"1", b"g", b"1"]))
    assert not is_sound_hash(listpack.build([b"f", b"1", b"g"]))
    assert not is_sound_hash(listpack.build([b"f", b"1", b"f", b"2"]))
    assert not is_sound_hash(listpack.EMPTY)
    assert not is_sound_hash(b"\x00" * 20)
