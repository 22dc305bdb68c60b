"""Bitmap commands: what is changed in place, what is propagated, and what differs from the judge of 7.0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import bits
from redoubt.data.memory import size_of
from redoubt.data.text import GrowableText
from redoubt.resp.replies import ErrorReply
from tests.redoubt.commands.recorded import Recorded

TEXTS = st.binary(min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("SETBIT b 7 1", ["SETBIT b 7 1"]),
        ("SETBIT b 1 1", []),  # it is set
        ("SETBIT b 15 0", ["SETBIT b 15 0"]),  # the string grows
        ("GETBIT b 1", []),
        ("BITFIELD b GET u8 0", []),
        ("BITFIELD b SET u8 0 96", []),
        ("BITFIELD b SET u8 0 97", ["BITFIELD b SET u8 0 97"]),
        ("BITFIELD b OVERFLOW FAIL INCRBY u8 0 255", []),
        ("BITFIELD b OVERFLOW FAIL SET u8 8 256", ["BITFIELD b OVERFLOW FAIL SET u8 8 256"]),  # it grows
        ("BITFIELD_RO b GET u8 0", []),
        ("BITOP NOT d b", ["BITOP NOT d b"]),
        ("BITOP AND d missing", []),
        ("BITOP AND b missing", ["BITOP AND b missing"]),
        ("BITCOUNT b", []),
        ("BITPOS b 1", []),
    ],
)
def test_what_changes_nothing_is_not_propagated(line: str, propagated: list[str]) -> None:
    recorded = Recorded()
    recorded.ask("SET b `")
    assert recorded.propagates(line) == propagated


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("BITCOUNT missing x 1", b"ERR value is not an integer or out of range"),
        ("BITCOUNT missing 0 1 FOO", b"ERR syntax error"),
        ("BITCOUNT missing 0", b"ERR syntax error"),
        ("BITPOS missing 1 x", b"ERR value is not an integer or out of range"),
        ("BITPOS missing 1 0 1 FOO", b"ERR syntax error"),
        ("BITFIELD b SET u8 #576460752303423488 1", b"ERR bit offset is not an integer or out of range"),
        ("SETBIT b 4294967296 1", b"ERR bit offset is not an integer or out of range"),
    ],
)
def test_wrong_words_are_refused_also_without_a_key(line: str, error: bytes) -> None:
    assert Recorded().ask(line) == ErrorReply(error)


def test_the_furthest_bit_follows_the_limit_of_strings() -> None:
    recorded = Recorded("--proto-max-bulk-len", "1mb")
    assert recorded.ask(f"SETBIT b {8 * 1024 * 1024} 1") == ErrorReply(
        b"ERR bit offset is not an integer or out of range"
    )
    assert recorded.ask(f"SETBIT b {8 * 1024 * 1024 - 1} 1") == 0
    assert recorded.ask("STRLEN b") == 1024 * 1024


def test_a_bit_of_a_large_string_is_set_in_place() -> None:
    recorded = Recorded()
    recorded.ask("SETBIT b 80000000 1")
    keyspace = recorded.harness.node.state.keyspaces[0]
    value = keyspace.get(b"b")
    assert isinstance(value, GrowableText)
    buffer = value.buffer
    recorded.ask("SETBIT b 5 1")
    recorded.ask("BITFIELD b SET u8 800 255")
    assert keyspace.get(b"b") is value and value.buffer is buffer
    assert recorded.ask("BITCOUNT b") == 10
    assert recorded.ask("BITPOS b 1 1") == 800
    assert recorded.ask("BITPOS b 1 102") == 80000000


def test_the_sum_of_sizes_follows_every_change() -> None:
    recorded = Recorded()
    keyspace = recorded.harness.node.state.keyspaces[0]
    for line in (
        "SETBIT a 100 1",
        "SETBIT a 10000 1",
        "SET n 12",
        "SETBIT n 3 0",
        "BITFIELD f SET i64 1000 -1 INCRBY u8 5000 3",
        "BITOP OR d a f n",
        "BITOP NOT a d",
        "PFADD h a b c",
        "PFADD h d",
        "PFCOUNT h",
        "PFMERGE g h",
        "PFDEBUG TODENSE h",
        "PFMERGE g h",
        "BITOP AND a missing",
    ):
        assert not isinstance(recorded.ask(line), ErrorReply)
        values = [keyspace.get(key) for key in keyspace.all_keys()]
        assert keyspace.value_bytes == sum(size_of(value) for value in values if value is not None)


def digits(text: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in text)


@given(TEXTS, st.integers(0, 400), st.integers(0, 400), st.booleans())
def test_bits_are_counted_and_found_as_in_a_row_of_digits(
    text: bytes, first: int, last: int, is_grown: bool
) -> None:
    row = digits(text)
    first, last = sorted((first % len(row), last % len(row)))
    value = GrowableText(text) if is_grown else text
    assert bits.count(value, first, last) == row[first : last + 1].count("1")
    for bit in (0, 1):
        assert bits.find(value, bit, first, last) == row.find(str(bit), first, last + 1)


def test_bits_are_found_across_pieces() -> None:
    for length in (bits.PIECE_BYTES - 1, bits.PIECE_BYTES, bits.PIECE_BYTES + 1, 3 * bits.PIECE_BYTES):
        text = bytes(length) + b"\x10"
        assert bits.find(text, 1, 0, 8 * length + 7) == 8 * length + 3
        assert bits.find(bits.complement(text), 0, 9, 8 * length + 7) == 8 * length + 3
        assert bits.find(text, 1, 0, 8 * length + 2) == -1
        assert bits.count(text, 0, 8 * length + 7) == 1


@given(TEXTS, st.integers(0, 330), st.integers(1, 64), st.booleans(), st.integers(-(2**63), 2**63 - 1))
def test_a_field_reads_back_as_it_was_written(
    text: bytes, place: int, width: int, is_signed: bool, number: int
) -> None:
    text = text.ljust(60, b"\x5a")
    least = -(1 << (width - 1)) if is_signed else 0
    number = least + (number - least) % (1 << width)
    patch = bits.with_field(text, place, width, number)
    first = place >> 3
    written = text[:first] + patch + text[first + len(patch) :]
    assert bits.field(written, place, width, is_signed) == number
    assert digits(written)[:place] == digits(text)[:place]
    assert digits(written)[place + width :] == digits(text)[place + width :]


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_strings_are_combined_bit_by_bit(texts: list[bytes]) -> None:
    length = max(map(len, texts))
    columns = list(zip(*[text.ljust(length, b"\0") for text in texts], strict=True))
    for operation, joined in ((bits.AND, int.__and__), (bits.OR, int.__or__), (bits.XOR, int.__xor__)):
        expected = bytearray()
        for column in columns:
            byte = column[0]
            for other in column[1:]:
                byte = joined(byte, other)
            expected.append(byte)
        assert bits.combine(operation, texts) == bytes(expected)
