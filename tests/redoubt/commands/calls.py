"""Calls of commands, generated from their usage lines.

A strategy yields the words after the command's name and which of them are keys, so that a property may ask
whether arity and key positions fit any call that the documentation allows.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from redoubt.commands.declare import Row
from redoubt.commands.usage import BLOCK, KEY, ONEOF, PURE_TOKEN, Argument

REPEATS_MAX = 3
# Lower-case words, which no token of a usage line is.
KEYS = st.sampled_from([b"k1", b"k2", b"{tag}k3", b"user:1", b"\xff\x00"])
NAMES = st.sampled_from([b"foo", b"bar", b"x y", b""])
WORDS: dict[str, st.SearchStrategy[bytes]] = {
    "integer": st.integers(-5, 5000).map(lambda number: str(number).encode()),
    "double": st.floats(-1e6, 1e6).map(lambda number: repr(number).encode()),
    "unix-time": st.integers(1, 4_000_000_000).map(lambda number: str(number).encode()),
    "pattern": st.sampled_from([b"*", b"k?", b"[a-c]*"]),
    "string": NAMES,
}


class Call:
    """The words so far, and the keys among them."""

    def __init__(self) -> None:
        self.words: list[bytes] = []
        self.keys: list[bytes] = []


@st.composite
def calls_of(draw: Any, row: Row) -> tuple[list[bytes], list[bytes]]:
    """Yield (words after the name, keys in order) of one call that the usage line allows."""
    call = Call()
    sequence(draw, call, row.documentation.arguments)
    return call.words, call.keys


def sequence(draw: Any, call: Call, arguments: list[Argument]) -> None:
    repeats = 0
    for place, argument in enumerate(arguments):
        follower = arguments[place + 1] if place + 1 < len(arguments) else None
        if argument.name == "numkeys" and follower is not None:
            repeats = draw(st.integers(1, REPEATS_MAX))
            call.words.append(b"%d" % repeats)
            continue
        # Keys that may be left out are not after a count of at least one.
        if argument.is_optional and not repeats and not draw(st.booleans()):
            continue
        if argument.is_multiple and not repeats:
            repeats = draw(st.integers(1, REPEATS_MAX))
        for turn in range(repeats if argument.is_multiple else 1):
            if argument.token and (turn == 0 or argument.is_multiple_token):
                call.words.append(argument.token.encode())
            once(draw, call, argument)
        # `key... id...` after a token: as many ids as keys.
        repeats = repeats if argument.kind == KEY and follower is not None and follower.is_multiple else 0


def once(draw: Any, call: Call, argument: Argument) -> None:
    if argument.kind == PURE_TOKEN:
        if not argument.token:
            call.words.append(argument.name.upper().encode())
    elif argument.kind == ONEOF:
        sequence(draw, call, [draw(st.sampled_from(argument.arguments))])
    elif argument.kind == BLOCK:
        sequence(draw, call, argument.arguments)
    elif argument.kind == KEY:
        key = draw(KEYS)
        call.words.append(key)
        call.keys.append(key)
    else:
        call.words.append(draw(WORDS[argument.kind]))
