"""The grammar of usage lines: trees, arity and key positions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import redoubt.node  # noqa: F401 - declares every command of a node
from redoubt.commands import keyspecs, usage
from redoubt.commands.declare import OW, RO, RW, all_rows, keys_of
from redoubt.commands.usage import Argument
from tests.redoubt.commands.calls import calls_of


def shapes(line: str) -> list[str]:
    return [argument.shape() for argument in usage.parse(line)]


@pytest.mark.parametrize(
    ("line", "same_as"),
    [
        ("key [key ...]", "key..."),
        ("key value [key value ...]", "(key value)..."),
        ("[GET pattern [GET pattern ...]]", "[GET pattern [GET pattern ...]]"),
        ("key  value", "key value"),
    ],
)
def test_what_repeats_may_be_written_in_two_ways(line: str, same_as: str) -> None:
    assert shapes(line) == shapes(same_as)


@pytest.mark.parametrize(
    ("line", "words", "arity"),
    [
        ("", 1, 1),
        ("key", 1, 2),
        ("key value [NX | XX] [EX seconds | KEEPTTL]", 1, -3),
        ("key [key ...]", 1, -2),
        ("key value [key value ...]", 1, -3),
        ("[message]", 1, -1),
        ("<host port | NO ONE>", 1, 3),
        ("<ON | OFF | SKIP>", 2, 3),
        ("<LIB-NAME name | LIB-VER version>", 2, 4),
        ("parameter [parameter ...]", 2, -3),
        ("numkeys key [key ...] [LIMIT limit]", 1, -3),
        ("key [NX | XX] [CH] (score:double member)...", 1, -4),
        ("<a | b c>", 1, -2),
    ],
)
def test_arity_follows_from_the_line(line: str, words: int, arity: int) -> None:
    assert usage.arity(usage.parse(line), words) == arity


def test_a_token_belongs_to_the_argument_after_it() -> None:
    (choice,) = usage.parse("[EX seconds | PX milliseconds | KEEPTTL]")
    assert choice.is_optional
    assert [(a.name, a.kind, a.token) for a in choice.arguments] == [
        ("seconds", "integer", "EX"),
        ("milliseconds", "integer", "PX"),
        ("keepttl", "pure-token", "KEEPTTL"),
    ]
    (limit,) = usage.parse("[LIMIT offset count]")
    assert (limit.kind, limit.token, [a.name for a in limit.arguments]) == (
        "block",
        "LIMIT",
        ["offset", "count"],
    )


def test_a_type_stands_behind_a_colon_and_addresses_have_none() -> None:
    assert [(a.name, a.kind) for a in usage.parse("score:double ip:port destination:key")] == [
        ("score", "double"),
        ("ip:port", "string"),
        ("destination", "key"),
    ]


@pytest.mark.parametrize("line", ["[key", "key]", "<a | b", "(key value", "key)"])
def test_an_unbalanced_line_is_a_mistake_of_ours(line: str) -> None:
    with pytest.raises(AssertionError):
        usage.parse(line)


def positions(line: str, call: str, use: int | tuple[int, ...] = RW) -> list[list[int] | None]:
    specs = keyspecs.derive(usage.parse(line), 1, use)
    return [spec.positions(call.encode().split()) for spec in specs]


def test_keys_are_found_by_index_by_count_by_keyword_and_in_pairs() -> None:
    assert positions("key value", "SET k v") == [[1]]
    assert positions("key newkey", "RENAME a b") == [[1], [2]]
    assert positions("key [key ...]", "DEL a b c") == [[1, 2, 3]]
    assert positions("key [key ...] timeout:double", "BLPOP a b 0") == [[1, 2]]
    assert positions("key value [key value ...]", "MSET a 1 b 2") == [[1, 3]]
    assert positions("numkeys key [key ...] [WITHSCORES]", "ZUNION 2 a b WITHSCORES") == [[2, 3]]
    line = "destination:key numkeys key [key ...]"
    assert positions(line, "ZUNIONSTORE d 2 a b", (OW, RO)) == [[1], [3, 4]]
    streams = "[COUNT count] (STREAMS key [key ...] id [id ...])"
    assert positions(streams, "XREAD COUNT 1 STREAMS a b 0 0") == [[4, 5]]
    assert positions("key [STORE destination:key]", "SORT k STORE d") == [[1], [3]]
    assert positions("key [STORE destination:key]", "SORT k") == [[1], []]


@pytest.mark.parametrize("call", ["ZUNION 3 a b", "ZUNION x a", "ZUNION 99999999999 a", "ZUNION -1 a"])
def test_a_count_that_does_not_fit_is_malformed(call: str) -> None:
    assert positions("numkeys key [key ...]", call) == [None]


def test_a_command_with_keys_must_say_what_it_does_with_them() -> None:
    with pytest.raises(AssertionError):
        keyspecs.derive(usage.parse("key"), 1, 0)


def test_a_key_without_place_or_token_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        keyspecs.derive(usage.parse("[x] key"), 1, RW)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_every_call_that_a_line_allows_has_the_arity_and_the_keys_it_was_made_with(
    data: st.DataObject,
) -> None:
    row = data.draw(st.sampled_from(all_rows()))
    words, keys = data.draw(calls_of(row))
    argv = [*row.name.upper().encode().split(b"|"), *words]
    if row.arity == usage.arity(row.documentation.arguments, 1 + row.name.count("|")):
        assert row.argc_min <= len(argv) <= row.argc_max
    if row.key_specs and row.find_keys is None:  # which says that the line does not tell all
        assert keys_of(row, argv) == keys


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abKEY [](<>)|.: ", max_size=30))
def test_no_line_does_worse_than_an_assertion(line: str) -> None:
    try:
        trees = usage.parse(line)
    except AssertionError:
        return
    assert all(isinstance(tree, Argument) for tree in trees)
    assert isinstance(usage.arity(trees, 1), int)
