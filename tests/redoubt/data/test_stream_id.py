"""Ids of stream entries: which texts are ids, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.stream_id import ID_MAX, SEQUENCE_MAX, make_id, parse_id, parse_milliseconds, text_of


@given(st.integers(0, ID_MAX))
def test_what_is_written_is_read(entry_id: int) -> None:
    assert parse_id(text_of(entry_id), 0) == entry_id


@pytest.mark.parametrize(
    ("text", "entry_id"),
    [
        (b"5", make_id(5, 7)),
        (b"5-0", make_id(5, 0)),
        (b"01-02", make_id(1, 2)),
        (b" +3-\t4", make_id(3, 4)),
        (b"1--05", make_id(1, SEQUENCE_MAX - 4)),  # C's strtoull wraps around, and Redis lets it
        (b"1--5", None),
        (b"", None),
        (b"-", None),
        (b"+", None),
        (b"1-", None),
        (b"-1", None),
        (b"1-2-3", None),
        (b"x-1", None),
        (b"1 -1", None),
        (b"18446744073709551616", None),
        (b"1" * 128, None),
    ],
)
def test_a_text_is_an_id_or_not(text: bytes, entry_id: int | None) -> None:
    assert parse_id(text, 7) == entry_id


def test_a_sequence_may_be_left_to_the_stream() -> None:
    assert [parse_milliseconds(text) for text in (b"5-*", b"*", b"5-1", b"x-*", b"5*")] == [5] + [None] * 4
