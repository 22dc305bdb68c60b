"""The request parser: whatever the split of the stream, the same commands; whatever the input, no crash."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.resp.replies import ProtocolError, encode_command
from redoubt.resp.requests import BIG_BULK_BYTES, INLINE_BYTES_MAX, RequestParser

arguments = st.lists(st.binary(max_size=40), min_size=1, max_size=12)


def parse_all(parser: RequestParser) -> list[list[bytes]]:
    commands = []
    while (argv := parser.next()) is not None:
        commands.append(argv)
    return commands


def parse(stream: bytes) -> list[list[bytes]]:
    parser = RequestParser()
    parser.feed(stream)
    return parse_all(parser)


def error_of(stream: bytes, is_unauthenticated: bool = False) -> bytes:
    parser = RequestParser()
    parser.is_unauthenticated = is_unauthenticated
    parser.feed(stream)
    with pytest.raises(ProtocolError) as raised:
        parse_all(parser)
    return raised.value.text


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


@given(st.lists(arguments, max_size=8), st.lists(st.integers(min_value=0), max_size=20))
def test_any_split_of_the_stream_gives_the_same_commands(
    commands: list[list[bytes]], places: list[int]
) -> None:
    stream = b"".join(map(encode_command, commands))
    parser = RequestParser()
    found: list[list[bytes]] = []
    for piece in cut(stream, places):
        parser.feed(piece)
        found += parse_all(parser)
    assert found == commands
    assert parser.consumed_bytes() == len(stream)
    assert parser.pending_bytes() == 0


@given(st.lists(st.integers(min_value=0, max_value=3 * BIG_BULK_BYTES), max_size=30), st.booleans())
def test_big_bulks_arrive_in_any_pieces(places: list[int], has_neighbours: bool) -> None:
    big = bytes(range(256)) * (BIG_BULK_BYTES // 128)
    commands = [[b"SET", b"key", big]]
    if has_neighbours:
        commands = [[b"PING"], *commands, [b"GET", b"key"], *commands]
    stream = b"".join(map(encode_command, commands))
    parser = RequestParser()
    found: list[list[bytes]] = []
    for piece in cut(stream, places):
        parser.feed(piece)
        found += parse_all(parser)
    assert found == commands
    assert parser.consumed_bytes() == len(stream)


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=5))
def test_no_input_crashes_the_parser(noise: bytes, places: list[int]) -> None:
    parser = RequestParser()
    try:
        for piece in cut(noise, places):
            parser.feed(piece)
            assert all(parse_all(parser))
    except ProtocolError as error:
        assert error.text


protocol_like = st.lists(
    st.sampled_from(
        [
            b"*",
            b"$",
            b"\r\n",
            b"\r",
            b"\n",
            b"1",
            b"3",
            b"0",
            b"-1",
            b"00",
            b"9" * 30,
            b"PING",
            b" ",
            b'"',
            b"'",
        ]
    ),
    max_size=30,
).map(b"".join)


@given(protocol_like, st.lists(st.integers(min_value=0), max_size=6))
def test_malformed_streams_are_judged_alike_whole_and_in_pieces(stream: bytes, places: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> tuple[list[list[bytes]], bytes]:
        parser = RequestParser()
        found: list[list[bytes]] = []
        try:
            for piece in pieces:
                parser.feed(piece)
                while (argv := parser.next()) is not None:
                    found.append(argv)
        except ProtocolError as error:
            return found, error.text
        return found, b""

    assert outcome([stream]) == outcome(cut(stream, places))


def test_consumed_bytes_point_behind_each_command() -> None:
    first, second = encode_command([b"SET", b"k", b"v"]), encode_command([b"PING"])
    parser = RequestParser()
    parser.feed(first + second[:3])
    parser.next()
    assert parser.consumed_bytes() == len(first)
    parser.feed(second[3:] + b"*1")
    parser.next()
    assert parser.consumed_bytes() == len(first) + len(second)


def test_empty_and_negative_arrays_are_skipped() -> None:
    assert parse(b"*0\r\n*-5\r\n*1\r\n$4\r\nPING\r\n") == [[b"PING"]]


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"*x\r\n", b"invalid multibulk length"),
        (b"*01\r\n", b"invalid multibulk length"),
        (b"*+1\r\n", b"invalid multibulk length"),
        (b"*2147483648\r\n", b"invalid multibulk length"),
        (b"*99999999999999999999999\r\n", b"invalid multibulk length"),
        (b"*1\r\n:4\r\n", b"expected '$', got ':'"),
        (b"*1\r\n$\r\nx\r\n", b"invalid bulk length"),
        (b"*1\r\n$-1\r\n", b"invalid bulk length"),
        (b"*1\r\n$abc\r\n", b"invalid bulk length"),
        (b"*1\r\n$007\r\n", b"invalid bulk length"),
        (b"*1\r\n$1 \r\n", b"invalid bulk length"),
        (b"*1\r\n$536870913\r\n", b"invalid bulk length"),
        (b"*" + b"1" * (INLINE_BYTES_MAX + 1), b"too big mbulk count string"),
        (b"*1\r\n$" + b"1" * (INLINE_BYTES_MAX + 1), b"too big bulk count string"),
        (b"a" * (INLINE_BYTES_MAX + 1), b"too big inline request"),
        (b'SET k "unbalanced\r\n', b"unbalanced quotes in request"),
        (b'"a"b\r\n', b"unbalanced quotes in request"),
    ],
)  # fmt: skip
def test_what_breaks_the_protocol_is_named_as_redis_names_it(stream: bytes, text: bytes) -> None:
    assert error_of(stream) == text


def test_unauthenticated_clients_get_tight_limits() -> None:
    assert error_of(b"*11\r\n", is_unauthenticated=True) == b"unauthenticated multibulk length"
    header = b"*1\r\n$16385\r\n"
    assert error_of(header, is_unauthenticated=True) == b"unauthenticated bulk length"
    whole = header + b"x" * 16385 + b"\r\n"
    assert error_of(whole, is_unauthenticated=True) == b"unauthenticated bulk length"
    assert parse(whole) == [[b"x" * 16385]]


def test_the_limit_of_a_bulk_is_the_configured_one() -> None:
    parser = RequestParser(bulk_bytes_max=1 << 20)
    parser.feed(b"*1\r\n$1048577\r\n")
    with pytest.raises(ProtocolError):
        parser.next()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"PING\r\n", [b"PING"]),
        (b"PING\n", [b"PING"]),
        (b"  set \t key  value \r\n", [b"set", b"key", b"value"]),
        (b'set key "a b"\n', [b"set", b"key", b"a b"]),
        (b'set key "\\x41\\n\\r\\t\\a\\b\\q\\\\"\n', [b"set", b"key", b"A\n\r\t\x07\x08q\\"]),
        (b"set key 'a \"b\" \\' \\n'\n", [b"set", b"key", b'a "b" \' \\n']),
        (b'set key ""\n', [b"set", b"key", b""]),
        (b'set key "\\x4"\n', [b"set", b"key", b"x4"]),
    ],
)
def test_inline_commands_are_quoted_as_in_redis(line: bytes, words: list[bytes]) -> None:
    assert parse(line) == [words]


def test_empty_lines_are_ignored_and_forms_may_alternate() -> None:
    stream = b"\r\n\n   \r\nPING\r\n*1\r\n$4\r\nECHO\r\nGET k\r\n"
    assert parse(stream) == [[b"PING"], [b"ECHO"], [b"GET", b"k"]]


def test_a_command_of_many_arguments_in_many_pieces_is_not_parsed_twice() -> None:
    # Were it parsed from the start at each piece, this would take minutes.
    argv = [b"MSET", *[b"k%d" % number for number in range(200_000)]]
    stream = encode_command(argv)
    parser = RequestParser()
    for start in range(0, len(stream), 4096):
        parser.feed(stream[start : start + 4096])
        command = parser.next()
    assert command == argv


def test_pending_bytes_see_what_was_gathered_for_an_unfinished_command() -> None:
    parser = RequestParser()
    parser.feed(b"*3\r\n$3\r\nSET\r\n$1000000\r\n")
    parser.next()
    for _ in range(5):
        parser.feed(b"x" * 100_000)
        assert parser.next() is None
    assert parser.pending_bytes() >= 500_000
