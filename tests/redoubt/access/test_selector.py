"""Selectors: which rules permit what, and that what is shown makes the same selector again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import redoubt.node  # noqa: F401 - declares every command
from redoubt.access.selector import READ, SYNTAX, UNKNOWN, WRITE, RuleError, Selector, find_row
from tests.differential.users import PERMISSIONS


def selector(*rules: str) -> Selector:
    made = Selector(False)
    for rule in rules:
        made.apply(rule.encode())
    return made


def may_run(made: Selector, *words: str) -> bool:
    argv = [word.encode() for word in words]
    name = words[0].lower()
    row = find_row(f"{name}|{words[1].lower()}".encode() if name in ("config", "client") else name.encode())
    return made.may_run(row, argv)


def test_a_new_selector_permits_nothing() -> None:
    made = selector()
    assert not may_run(made, "GET", "k")
    assert not made.may_use_key(b"k", 0)
    assert not made.may_use_channel(b"c", False)
    assert made.describe() == b"resetchannels -@all"


def test_commands_are_added_and_taken_away_one_by_one_and_by_category() -> None:
    made = selector("+@read", "-get", "+config|get", "+client", "-client|kill")
    assert not may_run(made, "GET", "k")
    assert may_run(made, "MGET", "k")
    assert may_run(made, "CONFIG", "GET") and not may_run(made, "CONFIG", "SET")
    assert may_run(made, "CLIENT", "LIST") and not may_run(made, "CLIENT", "KILL")
    assert made.describe_commands() == b"-@all +@read -get +config|get +client -client|kill"


def test_a_rule_replaces_earlier_ones_about_the_same_command_and_its_subcommands() -> None:
    made = selector("+config|get", "+config|set", "+get", "-config", "-get")
    assert made.describe_commands() == b"-@all -config -get"


def test_everything_but_is_no_longer_everything() -> None:
    made = selector("+@all", "~*", "&*")
    assert made.permits_everything()
    made.apply(b"-flushall")
    assert not made.permits_everything()
    assert may_run(made, "GET", "k") and not may_run(made, "FLUSHALL")
    assert made.describe() == b"~* &* +@all -flushall"


def test_a_command_may_be_permitted_with_one_first_argument_only() -> None:
    made = selector("+select|0")
    assert may_run(made, "SELECT", "0")
    assert not may_run(made, "SELECT", "1")
    assert not may_run(made, "SELECT")


def test_keys_may_be_readable_writable_or_both() -> None:
    made = selector("%R~r*", "%W~w*", "%RW~b*", "~a*")
    permissions = {
        key: [made.may_use_key(key, permission) for permission in (READ, WRITE, READ | WRITE, 0)]
        for key in (b"r1", b"w1", b"b1", b"a1", b"x")
    }
    assert permissions == {
        b"r1": [True, False, False, True],
        b"w1": [False, True, False, True],
        b"b1": [True, True, True, True],
        b"a1": [True, True, True, True],
        b"x": [False, False, False, False],
    }
    assert made.describe_keys() == b"%R~r* %W~w* ~b* ~a*"


def test_the_same_pattern_gathers_permissions() -> None:
    assert selector("%R~k", "%W~k").describe_keys() == b"~k"


def test_a_channel_fits_a_pattern_and_a_pattern_must_be_one_of_ours() -> None:
    made = selector("&news.*")
    assert made.may_use_channel(b"news.x", False)
    assert not made.may_use_channel(b"news.x", True)
    assert made.may_use_channel(b"news.*", True)
    assert not made.may_use_channel(b"old", False)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("+nosuch", UNKNOWN), ("-nosuch", UNKNOWN), ("+@nosuch", UNKNOWN), ("+config|nosuch", UNKNOWN),
        ("+get|", SYNTAX), ("what", SYNTAX), ("%~k", SYNTAX), ("%X~k", SYNTAX), ("%RR~k", SYNTAX),
        ("~a b", SYNTAX), ("&a b", SYNTAX), ("%", SYNTAX),
        ("+config|get|x", b"Allowing first-arg of a subcommand is not supported"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_refused_and_changes_nothing(rule: str, text: bytes) -> None:
    made = selector("+get", "~k")
    with pytest.raises(RuleError) as refused:
        made.apply(rule.encode())
    assert refused.value.text == text
    assert made.describe() == b"~k resetchannels -@all +get"


@given(st.lists(PERMISSIONS, max_size=10))
def test_what_a_file_says_makes_the_same_selector_again(rules: list[bytes]) -> None:
    made = Selector(False)
    for rule in rules:
        try:
            made.apply(rule)
        except RuleError:
            continue
    again = Selector(False)
    for rule in made.describe(for_file=True).split(b" "):
        again.apply(rule)
    assert again.describe(for_file=True) == made.describe(for_file=True)
    assert (again.allowed, again.first_arguments) == (made.allowed, made.first_arguments)
