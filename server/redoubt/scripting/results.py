"""What a script returned, as a reply: the reading of the flat form in which Lua hands its result over.

Numbers lose what stands behind the point, and those beyond 64 bits become the smallest integer, as the
conversion in C on the usual processors has it. A nil, a function and the like are nulls.

The interpreter calls it. Source: "Lua to RESP data type conversion" in the Redis documentation.
"""

from __future__ import annotations

from typing import Any, Final

from redoubt.resp.replies import (
    BigNumber,
    Boolean,
    Double,
    ErrorReply,
    MapReply,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
)
from redoubt.scripting import lua_results

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
TOO_DEEP: Final = ErrorReply(b"ERR reached lua stack limit")


def truncated(number: float) -> int:
    """Return a Lua number as the 64-bit integer that C makes of it."""
    if number != number or not INTEGER_MIN <= number <= INTEGER_MAX:
        return INTEGER_MIN
    value = int(number)
    return value if value <= INTEGER_MAX else INTEGER_MIN


def scalar(value: Any, resp: int) -> Reply:
    """Convert a result that is no string and no table."""
    if value is None:
        return None
    if isinstance(value, bool):
        return truth(value, resp)
    return truncated(value)


def truth(value: bool, resp: int) -> Reply:
    """Convert a boolean: only a script that chose RESP3 has booleans."""
    if resp == 3:
        return Boolean(value)
    return 1 if value else None


class FlatResult:
    """Reads one value after the other from the flat form; see `redoubt.scripting.lua_results`."""

    def __init__(self, items: list[Any], at: int, resp: int) -> None:
        self.items = items
        self.at = at
        self.resp = resp

    def take(self) -> Any:
        """Take the next item as it is."""
        item = self.items[self.at]
        self.at += 1
        return item

    def next(self) -> Reply:
        """Take the next value."""
        item = self.take()
        if isinstance(item, bytes):
            return item
        if item == lua_results.TAG_ARRAY:
            return [self.next() for _ in range(self.take())]
        if item == lua_results.TAG_NUMBER:
            return truncated(self.take())
        if item == lua_results.TAG_TRUE:
            return truth(True, self.resp)
        if item == lua_results.TAG_FALSE:
            return truth(False, self.resp)
        if item == lua_results.TAG_NIL:
            return None
        return self.next_rare(int(item))

    def next_rare(self, tag: int) -> Reply:
        """Take a value of which the tag has been read: the tables with a meaning."""
        if tag == lua_results.TAG_ERROR:
            return ErrorReply(self.take())
        if tag == lua_results.TAG_STATUS:
            return SimpleString(one_line(self.take()))
        if tag == lua_results.TAG_DOUBLE:
            return Double(float(self.take()))
        if tag == lua_results.TAG_BIG_NUMBER:
            return big_number(self.take())
        if tag == lua_results.TAG_VERBATIM:
            form = self.take()
            return Verbatim(self.take(), form)
        if tag == lua_results.TAG_MAP:
            pairs: list[tuple[Reply, Reply]] = []
            for _ in range(self.take()):
                key = self.next()
                pairs.append((key, self.next()))
            return MapReply(pairs)
        if tag == lua_results.TAG_SET:
            return SetReply([self.next() for _ in range(self.take())])
        return TOO_DEEP


def one_line(text: bytes) -> bytes:
    """Return a status without line breaks and without what follows a zero byte, which C does not see."""
    return text.split(b"\0", 1)[0].replace(b"\r", b" ").replace(b"\n", b" ")


def big_number(text: bytes) -> Reply:
    """Return a big number; one that is none goes out as the text that it is."""
    return BigNumber(int(text)) if text.removeprefix(b"-").isdigit() else one_line(text)
