"""The usage line of a command, parsed: its arguments, its arity and where its keys stand.

The line that the Redis documentation prints under a command's name is the only description of the syntax
that the server keeps. `parse` turns it into a list of `Argument` trees; `arity` and `key_specs` are computed
from these. The grammar is the documentation's own:

    key            an argument; `name:type` gives a type (key, integer, double, pattern, unix-time, string)
    WITHSCORES     a literal word; `EX seconds` inside a group is an argument with a token
    [x]  <a | b>   optional; exactly one of (also `[a | b]`)
    (a b)          a block that belongs together
    ""             the empty string
    x...           one or more; `key [key ...]` and `key value [key value ...]` mean the same

Called once for each command at import by `redoubt.commands.declare`, and by the tests, which generate
calls from the trees. It checks no call: each handler parses its own arguments.
Source of the rules: https://redis.io/docs/latest/develop/reference/key-specs/ and the page on COMMAND DOCS.
"""

from __future__ import annotations

import re
from typing import Final

KEY: Final = "key"
PURE_TOKEN: Final = "pure-token"
ONEOF: Final = "oneof"
BLOCK: Final = "block"
_KINDS: Final = (KEY, "string", "integer", "double", "pattern", "unix-time")

# Argument names whose type is the same in every command of the Redis documentation that has them.
_TYPES: Final = {
    "key": KEY,
    "newkey": KEY,
    "pattern": "pattern",
    **dict.fromkeys(
        ("increment", "decrement", "seconds", "milliseconds", "count", "cursor", "numkeys", "offset", "index",
         "start", "end", "stop", "numreplicas", "numlocal", "slot", "len", "start-slot", "end-slot", "port",
         "config-epoch", "bit"), "integer"),
    **dict.fromkeys(("unix-time-seconds", "unix-time-milliseconds"), "unix-time"),
}  # fmt: skip

_WORD: Final = re.compile(r"\s*(\.\.\.|[\[\]<>()|]|(?:(?!\.\.\.)[^\s\[\]<>()|])+)")


class Argument:
    """One argument: a word, a literal, a choice (`oneof`) or a `block`, with the token that introduces it."""

    def __init__(
        self, name: str, kind: str, token: str = "", arguments: list[Argument] | None = None
    ) -> None:
        self.name = name
        self.kind = kind
        self.token = token
        self.arguments: list[Argument] = arguments or []
        self.is_optional = False
        self.is_multiple = False
        self.is_multiple_token = False
        self.key_spec_index = -1

    def shape(self) -> str:
        """Write the argument down so that equal arguments are equal strings."""
        inner = " ".join(argument.shape() for argument in self.arguments)
        return f"{self.kind}:{self.name}:{self.token}:{self.is_optional}:{self.is_multiple}({inner})"

    def length_min(self) -> int:
        """Count the words of the shortest call."""
        return 0 if self.is_optional else self._length_once()

    def length_fixed(self) -> int:
        """Count the words if every call has the same number of them, else -1."""
        if self.is_optional or self.is_multiple:
            return -1
        lengths = [argument.length_fixed() for argument in self.arguments]
        if -1 in lengths or (self.kind == ONEOF and len(set(lengths)) > 1):
            return -1
        return self._length_once()

    def _length_once(self) -> int:
        lengths = [argument.length_min() for argument in self.arguments]
        token = 1 if self.token else 0
        if self.kind == PURE_TOKEN:
            return 1
        if self.kind == ONEOF:
            return token + min(lengths)
        return token + (sum(lengths) if self.kind == BLOCK else 1)


class _Reader:
    """Recursive descent over the words of one usage line."""

    def __init__(self, usage: str) -> None:
        self.usage = usage
        self.words: list[str] = _WORD.findall(usage)
        self.at = 0

    def peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def take(self) -> str:
        word = self.peek()
        self.at += 1
        return word

    def choice(self, closing: str, is_nested: bool) -> list[list[Argument]]:
        """Read alternatives up to and including `closing` ("" is the end of the line)."""
        alternatives: list[list[Argument]] = [[]]
        while (word := self.take()) != closing:
            if word == "|":
                alternatives.append([])
            elif word == "...":
                assert alternatives[-1], f"nothing to repeat in usage {self.usage!r}"
                if closing == "]" and self.peek() == "]":
                    alternatives[-1] = [_group(alternatives[-1], closing)]
                alternatives[-1][-1].is_multiple = True
            else:
                assert word not in ("", ">", ")", "]"), f"unbalanced {word!r} in usage {self.usage!r}"
                self._element(word, alternatives[-1])
        if is_nested:
            return [[_group(sequence, closing)] for sequence in alternatives]
        return alternatives

    def _element(self, word: str, sequence: list[Argument]) -> None:
        if word == "[":
            group = _oneof(self.choice("]", True))
            if group.is_multiple and _folds(sequence, group):
                return
            group.is_optional = True
            sequence.append(group)
        elif word in "<(":
            sequence.append(_oneof(self.choice(">" if word == "<" else ")", True)))
        else:
            sequence.append(_word(word))


def _word(word: str) -> Argument:
    if word == '""':
        return Argument("empty-string", PURE_TOKEN)
    if word.upper() == word:
        return Argument(word.lower(), PURE_TOKEN, word)
    name, _, kind = word.partition(":")
    if kind not in _KINDS:
        return Argument(word, _TYPES.get(word, "string"))
    return Argument(name, kind)


def _group(sequence: list[Argument], closing: str) -> Argument:
    """Make one argument of a sequence inside brackets; a leading literal becomes its token."""
    sequence = _with_tokens(sequence) if len(sequence) == 2 else sequence
    if len(sequence) == 1:
        return sequence[0]
    assert sequence, f"an empty group before {closing!r}"
    first = sequence[0]
    is_all_literal = all(argument.kind == PURE_TOKEN for argument in sequence)
    if first.kind == PURE_TOKEN and not first.is_optional and not is_all_literal:
        return Argument(first.name, BLOCK, first.token, sequence[1:])
    return Argument("-".join(argument.name for argument in sequence), BLOCK, "", sequence)


def _oneof(alternatives: list[list[Argument]]) -> Argument:
    if len(alternatives) == 1:
        return alternatives[0][0]
    arguments = [sequence[0] for sequence in alternatives]
    return Argument("-or-".join(argument.name for argument in arguments), ONEOF, "", arguments)


def _folds(sequence: list[Argument], group: Argument) -> bool:
    """Join `x [x ...]` into one repeated x at the end of `sequence`; say whether it was such a pair."""
    for size in range(1, len(sequence) + 1):
        last = _group(sequence[-size:], "]")
        was_multiple = last.is_multiple
        last.is_multiple = True
        if last.shape() == group.shape():
            last.is_multiple_token = bool(last.token)
            sequence[-size:] = [last]
            return True
        last.is_multiple = was_multiple
    return False


def _with_tokens(sequence: list[Argument]) -> list[Argument]:
    """Join a literal and the single argument after it: `EX seconds` is one argument with the token EX."""
    joined: list[Argument] = []
    for argument in sequence:
        before = joined[-1] if joined else None
        is_plain = argument.kind != PURE_TOKEN and not argument.is_optional and not argument.token
        if before is not None and before.kind == PURE_TOKEN and not before.is_optional and is_plain:
            joined[-1] = with_token = Argument(argument.name, argument.kind, before.token, argument.arguments)
            with_token.is_multiple = argument.is_multiple
        else:
            joined.append(argument)
    return joined


def parse(usage: str) -> list[Argument]:
    """Parse the arguments of a usage line, without the command's name."""
    alternatives = _Reader(usage).choice("", False)
    if len(alternatives) > 1:
        return [_oneof([[_group(sequence, "")] for sequence in alternatives])]
    return _with_tokens(alternatives[0])


def arity(arguments: list[Argument], words: int) -> int:
    """Compute Redis's arity: the exact number of words with the name's, or minus the smallest number."""
    is_fixed = all(argument.length_fixed() >= 0 for argument in arguments)
    length = words + sum(argument.length_min() for argument in arguments)
    return length if is_fixed else -length
