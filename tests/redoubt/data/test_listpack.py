"""Listpacks against a plain list of texts, at every boundary of their encodings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import listpack

POWERS = [7, 12, 15, 23, 31, 63]
EDGES = [0, 1, -1, *(sign * 2**power + add for power in POWERS for sign in (1, -1) for add in (-1, 0, 1))]
LENGTHS = [0, 1, 62, 63, 64, 124, 125, 126, 127, 4093, 4094, 4095, 4096, 4100, *range(16370, 16385)]
NOT_CANONICAL = [b"01", b"-0", b"+1", b" 1", b"1 ", b"1.0", b"99999999999999999999", b"-"]

TEXTS = st.one_of(
    st.sampled_from(EDGES).map(lambda number: b"%d" % number),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: b"%d" % number),
    st.binary(max_size=80),
    st.sampled_from(NOT_CANONICAL),
)


@pytest.mark.parametrize("text", [b"%d" % number for number in EDGES] + NOT_CANONICAL)
def test_a_text_comes_back_as_it_was(text: bytes) -> None:
    pack = listpack.build([b"before", text, b"after"])
    assert listpack.texts(pack) == [b"before", text, b"after"]
    assert listpack.is_sound(pack)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_of_any_length_can_be_walked_over_both_ways(length: int) -> None:
    pack = listpack.build([b"a", b"x" * length, b"b"])
    assert listpack.is_sound(pack)
    second = listpack.next_entry(pack, listpack.FIRST)
    third = listpack.next_entry(pack, second)
    assert listpack.text_at(pack, third) == b"b"
    assert listpack.previous_entry(pack, third) == second
    assert listpack.previous_entry(pack, second) == listpack.FIRST


def test_the_bytes_are_those_of_the_format() -> None:
    assert listpack.build([]) == listpack.EMPTY
    packed = "12000000 0400 816102 0501 dfff02 c12c02 ff"
    assert listpack.build([b"a", b"5", b"-1", b"300"]) == bytes.fromhex(packed)


@given(st.lists(TEXTS, max_size=30))
def test_a_pack_is_the_list_of_its_texts(texts: list[bytes]) -> None:
    pack = listpack.build(texts)
    assert listpack.is_sound(pack)
    assert listpack.texts(pack) == texts
    assert listpack.length(pack) == len(texts)
    at = listpack.FIRST
    for index, text in enumerate(texts):
        assert listpack.at_index(pack, index) == at
        assert listpack.text_at(pack, at) == text
        at = listpack.next_entry(pack, at)
    assert pack[at] == listpack.END


@given(st.lists(TEXTS, max_size=20), TEXTS, st.sampled_from([1, 2]))
def test_find_returns_the_first_entry_that_is_the_text(texts: list[bytes], text: bytes, step: int) -> None:
    pack = listpack.build(texts)
    wanted = next((index for index in range(0, len(texts), step) if texts[index] == text), -1)
    found = listpack.find(pack, text, step)
    assert found == (listpack.at_index(pack, wanted) if wanted >= 0 else -1)


def test_find_is_not_fooled_by_an_entry_inside_another() -> None:
    inner = listpack.encode(b"ab")
    pack = listpack.build([b"xx" + inner + b"yy", b"1", inner, b"2", b"ab", b"3"])
    assert listpack.find(pack, b"ab", 1) == listpack.at_index(pack, 4)
    assert listpack.find(pack, b"ab", 2) == listpack.at_index(pack, 4)
    assert listpack.find(pack, inner, 2) == listpack.at_index(pack, 2)
    assert listpack.find(pack, b"3", 2) == -1


@given(st.lists(TEXTS, max_size=12), st.lists(TEXTS, max_size=3), st.data())
def test_splice_replaces_what_stands_between(
    texts: list[bytes], new: list[bytes], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(texts)))
    past = data.draw(st.integers(first, len(texts)))
    pack = listpack.build(texts)
    entries = b"".join(listpack.encode(text) for text in new)
    at, end = listpack.at_index(pack, first), listpack.at_index(pack, past)
    expected = texts[:first] + new + texts[past:]
    for count in (len(expected), -1):
        changed = listpack.splice(pack, at, end, entries, count)
        assert listpack.texts(changed) == expected
        assert listpack.is_sound(changed)


def test_more_entries_than_the_header_can_count_are_counted() -> None:
    pack = listpack.build([b"1"] * 70_000)
    assert listpack.length(pack) == 70_000
    assert listpack.is_sound(pack)


@given(st.lists(TEXTS, min_size=1, max_size=6), st.data())
def test_a_damaged_pack_is_not_sound_or_harmless(texts: list[bytes], data: st.DataObject) -> None:
    pack = bytearray(listpack.build(texts))
    place = data.draw(st.integers(0, len(pack) - 1))
    pack[place] ^= data.draw(st.integers(1, 255))
    if listpack.is_sound(bytes(pack)):  # then only a content has changed
        listpack.texts(bytes(pack))
    for cut in range(len(pack)):
        assert not listpack.is_sound(bytes(pack[:cut]))


@given(st.lists(TEXTS, max_size=20), st.data())
def test_texts_can_be_read_from_anywhere(texts: list[bytes], data: st.DataObject) -> None:
    pack = listpack.build(texts)
    first = data.draw(st.integers(0, len(texts)))
    count = data.draw(st.integers(0, len(texts) + 1))
    assert listpack.texts_from(pack, listpack.at_index(pack, first), count) == texts[first : first + count]
