"""Replies: each type in both protocol versions, and that the decoder gives back what the encoder took."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.resp.decoder import NEED_MORE, ReplyDecoder
from redoubt.resp.replies import (
    NO_REPLY,
    NULL_ARRAY,
    OK,
    BigNumber,
    Boolean,
    Double,
    ErrorReply,
    MapReply,
    ProtocolError,
    Push,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
    encoded,
)

lines = st.binary(max_size=20).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
scalars: st.SearchStrategy[Any] = st.one_of(
    st.binary(max_size=30),
    st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1),
    st.none(),
    lines.map(SimpleString),
    lines.map(ErrorReply),
    st.floats(allow_nan=False).map(Double),
    st.booleans().map(Boolean),
    st.binary(max_size=20).map(Verbatim),
    st.integers().map(BigNumber),
)
replies: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(SetReply),
        st.lists(inner, max_size=4).map(Push),
        st.lists(st.tuples(inner, inner), max_size=3).map(MapReply),
    ),
    max_leaves=12,
)


@given(st.lists(replies, max_size=5), st.integers(min_value=1, max_value=7))
def test_decoding_gives_back_what_was_encoded_at_any_split(values: list[Any], step: int) -> None:
    stream = b"".join(encoded(value, 3) for value in values)
    decoder = ReplyDecoder()
    found: list[Any] = []
    for start in range(0, len(stream), step):
        decoder.feed(stream[start : start + step])
        while (value := decoder.next()) is not NEED_MORE:
            found.append(value)
    assert found == values


@given(st.binary(max_size=200))
def test_no_stream_crashes_the_decoder(noise: bytes) -> None:
    decoder = ReplyDecoder()
    decoder.feed(noise)
    try:
        while decoder.next() is not NEED_MORE:
            pass
    except ProtocolError as error:
        assert error.text


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        (b"x" * 5000, b"$5000\r\n" + b"x" * 5000 + b"\r\n", b"$5000\r\n" + b"x" * 5000 + b"\r\n"),
        (7, b":7\r\n", b":7\r\n"),
        (-7, b":-7\r\n", b":-7\r\n"),
        (70000, b":70000\r\n", b":70000\r\n"),
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (OK, b"+OK\r\n", b"+OK\r\n"),
        (ErrorReply(b"ERR no\r\nbreaks"), b"-ERR no  breaks\r\n", b"-ERR no  breaks\r\n"),
        ([b"a", [1]], b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n"),
        (MapReply([(b"k", 1)]), b"*2\r\n$1\r\nk\r\n:1\r\n", b"%1\r\n$1\r\nk\r\n:1\r\n"),
        (SetReply([1]), b"*1\r\n:1\r\n", b"~1\r\n:1\r\n"),
        (Push([1]), b"*1\r\n:1\r\n", b">1\r\n:1\r\n"),
        (Double(3.0), b"$1\r\n3\r\n", b",3\r\n"),
        (Boolean(True), b":1\r\n", b"#t\r\n"),
        (Boolean(False), b":0\r\n", b"#f\r\n"),
        (Verbatim(b"hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
        (BigNumber(1 << 70), b"$22\r\n1180591620717411303424\r\n", b"(1180591620717411303424\r\n"),
        (NO_REPLY, b"", b""),
    ],
)
def test_each_type_has_its_bytes_in_both_versions(reply: Reply, resp2: bytes, resp3: bytes) -> None:
    assert encoded(reply, 2) == resp2
    assert encoded(reply, 3) == resp3


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, b"3"), (0.1, b"0.1"), (-2.5, b"-2.5"), (math.inf, b"inf"), (-math.inf, b"-inf")]
)
def test_doubles_are_written_in_the_shortest_way(value: float, text: bytes) -> None:
    assert encoded(Double(value), 3) == b"," + text + b"\r\n"


def test_the_decoder_skips_attributes() -> None:
    decoder = ReplyDecoder()
    decoder.feed(b"|1\r\n+ttl\r\n:3\r\n*1\r\n|0\r\n:7\r\n")
    assert decoder.next() == [7]


def test_nesting_is_limited() -> None:
    decoder = ReplyDecoder()
    decoder.feed(b"*1\r\n" * 1000)
    with pytest.raises(ProtocolError):
        decoder.next()


def test_the_rest_of_a_stream_can_be_taken_over() -> None:
    decoder = ReplyDecoder()
    decoder.feed(b"+FULLRESYNC\r\nsnapshot")
    assert decoder.next() == SimpleString(b"FULLRESYNC")
    assert decoder.take_rest() == b"snapshot"
    assert decoder.next() is NEED_MORE
