"""The three representations of a string, and Redis's idea of an integer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.text import (
    GrowableText,
    Text,
    copy_of,
    encoding_name,
    parse_integer,
    text_bytes,
    text_integer,
    text_length,
    text_slice,
)


@pytest.mark.parametrize("value", [b"-12345", -12345, GrowableText(b"-12345")])
def test_readers_see_the_same_in_all_three(value: Text) -> None:
    assert text_bytes(value) == b"-12345"
    assert text_length(value) == 6
    assert text_slice(value, 1, 3) == b"12"
    assert text_integer(value) == -12345


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (b"0", 0),
        (b"-1", -1),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"9223372036854775808", None),
        (b"-9223372036854775809", None),
        (b"", None),
        (b"-", None),
        (b"-0", None),
        (b"+1", None),
        (b"01", None),
        (b"1 ", None),
        (b"1_0", None),
        ("१".encode(), None),
        (b"--1", None),
        (b"1" * 5000, None),
    ],
)
def test_integer(word: bytes, number: int | None) -> None:
    assert parse_integer(word) == number


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_64_bit_integer_is_read_as_written(number: int) -> None:
    assert parse_integer(b"%d" % number) == number


def test_encodings_have_redis_names() -> None:
    assert encoding_name(7) == b"int"
    assert encoding_name(b"7") == b"int"
    assert encoding_name(b"x" * 44) == b"embstr"
    assert encoding_name(b"x" * 45) == b"raw"
    assert encoding_name(GrowableText(b"7")) == b"raw"


def test_writing_behind_the_end_fills_the_gap_with_zero_bytes() -> None:
    text = GrowableText(b"ab")
    assert text.overwrite(4, b"xy") == 6
    assert text.content() == b"ab\0\0xy"
    assert text.overwrite(1, b"Z") == 6
    assert text.content() == b"aZ\0\0xy"


def test_a_copy_changes_by_itself() -> None:
    text = GrowableText(b"ab")
    copied = copy_of(text)
    text.append(b"c")
    assert isinstance(copied, GrowableText)
    assert copied.content() == b"ab"
