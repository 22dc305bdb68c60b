"""Glob patterns as KEYS, SCAN, CONFIG GET and PSUBSCRIBE use them: `*`, `?`, `[a-c]`, `[^x]`, `\\x`.

A naive matcher takes exponential time on patterns such as `a*a*a*b`. Here a pattern is cut at its stars into
pieces of fixed length, each of which is one regular expression without repetition. The first piece must
stand at the beginning, the last at the end, and each piece between is looked for from the left, once: the
leftmost place leaves the most room for the rest, so nothing is ever tried again. The cost is bounded by
length of text times length of pattern.

The readings of broken patterns are Redis's: an unclosed class ends with the pattern, a lone backslash at the
end stands for itself, and only the empty pattern matches the empty text (its callers treat `*` apart).
"""

from __future__ import annotations

import re
from typing import Final

_STAR: Final = ord("*")
_QUESTION: Final = ord("?")
_OPEN: Final = ord("[")
_CLOSE: Final = ord("]")
_CARET: Final = ord("^")
_DASH: Final = ord("-")
_BACKSLASH: Final = ord("\\")
_ANY: Final = rb"[\x00-\xff]"
_NONE: Final = rb"(?!)"


class Glob:
    """One compiled pattern."""

    def __init__(self, pattern: bytes, ignores_case: bool = False) -> None:
        self.is_everything = pattern == b"*"
        self._is_empty = not pattern
        pieces = _pieces(pattern)
        flags = re.IGNORECASE if ignores_case else 0
        self._first = re.compile(pieces[0][0], flags)
        self._between = [re.compile(source, flags) for source, _ in pieces[1:-1]]
        self._last: re.Pattern[bytes] | None = None
        self._last_length = 0
        if len(pieces) > 1:
            self._last = re.compile(pieces[-1][0], flags)
            self._last_length = pieces[-1][1]

    def matches(self, text: bytes) -> bool:
        """Say whether the whole of `text` fits the pattern."""
        if self.is_everything:
            return True
        if not text:
            return self._is_empty
        if self._last is None:
            return self._first.fullmatch(text) is not None
        found = self._first.match(text)
        if found is None:
            return False
        place = found.end()
        for piece in self._between:
            found = piece.search(text, place)
            if found is None:
                return False
            place = found.end()
        last_place = len(text) - self._last_length
        return last_place >= place and self._last.match(text, last_place) is not None


def _pieces(pattern: bytes) -> list[tuple[bytes, int]]:
    """Cut the pattern at its stars: (regular expression, number of bytes it matches) of each piece."""
    pieces: list[tuple[bytes, int]] = []
    source: list[bytes] = []
    index = 0
    while index < len(pattern):
        byte = pattern[index]
        index += 1
        if byte == _STAR:
            pieces.append((b"".join(source), len(source)))
            source = []
        elif byte == _QUESTION:
            source.append(_ANY)
        elif byte == _OPEN:
            index = _append_class(pattern, index, source)
        else:
            if byte == _BACKSLASH and index < len(pattern):
                byte = pattern[index]
                index += 1
            source.append(re.escape(bytes((byte,))))
    pieces.append((b"".join(source), len(source)))
    return pieces


def _append_class(pattern: bytes, index: int, source: list[bytes]) -> int:
    """Append what the class that begins at `index` matches; return the index after its end."""
    is_negated = pattern[index : index + 1] == b"^"
    if is_negated:
        index += 1
    members: list[bytes] = []
    while index < len(pattern) and pattern[index] != _CLOSE:
        left = len(pattern) - index
        low = high = pattern[index]
        if left >= 2 and low == _BACKSLASH:
            index += 1
            low = high = pattern[index]
        elif left >= 3 and pattern[index + 1] == _DASH:
            high = pattern[index + 2]
            index += 2
        low, high = min(low, high), max(low, high)
        members.append(b"\\x%02x-\\x%02x" % (low, high))
        index += 1
    if members:
        source.append(b"[%b%b]" % (b"^" if is_negated else b"", b"".join(members)))
    else:
        source.append(_ANY if is_negated else _NONE)
    return index + 1
