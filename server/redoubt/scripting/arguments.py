"""Arguments of functions that Python offers to scripts: numbers and strings as Lua's C API takes them.

A number stands for a string and a numeric string for a number. What does not fit raises in the script the
text that Lua's own libraries have, behind the script's name and line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lupa.lua51 as lupa


class Arguments:
    """Reads the arguments of calls; `fail` makes the exception that raises a text in the script."""

    def __init__(self, fail: Callable[[bytes], Exception]) -> None:
        self.fail = fail

    def number(self, words: tuple[Any, ...], at: int, name: bytes) -> float:
        """Return an argument as a number (luaL_checknumber)."""
        word = words[at] if at < len(words) else None
        if isinstance(word, (int, float)) and not isinstance(word, bool):
            return word
        if isinstance(word, bytes):
            value = number_of(word)
            if value is not None:
                return value
        raise self.mismatch(words, at, name, b"number")

    def text(self, words: tuple[Any, ...], at: int, name: bytes) -> bytes:
        """Return an argument as a string (luaL_checkstring)."""
        word = words[at] if at < len(words) else None
        if isinstance(word, bytes):
            return word
        if isinstance(word, (int, float)) and not isinstance(word, bool):
            return b"%.14g" % word
        raise self.mismatch(words, at, name, b"string")

    def mismatch(self, words: tuple[Any, ...], at: int, name: bytes, expected: bytes) -> Exception:
        """Make the exception for an argument of another type."""
        found = b"no value" if at >= len(words) else type_name(words[at])
        return self.fail(b"bad argument #%d to '%s' (%s expected, got %s)" % (at + 1, name, expected, found))


def number_of(text: bytes) -> float | None:
    """Read a numeric string as Lua does: decimal or hexadecimal, white space around; None: it is none."""
    stripped = text.strip()
    try:
        if b"x" in stripped or b"X" in stripped:
            return int(stripped, 16)
        if b"_" in stripped:
            return None
        return float(stripped)
    except ValueError:
        return None


def type_name(value: Any) -> bytes:
    """Name the Lua type of a value that Python got."""
    if value is None:
        return b"nil"
    if isinstance(value, bool):
        return b"boolean"
    if isinstance(value, (int, float)):
        return b"number"
    if isinstance(value, bytes):
        return b"string"
    name = lupa.lua_type(value)
    return name.encode() if isinstance(name, str) else b"function"
