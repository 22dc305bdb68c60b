"""Reads a stream of replies back into values: the way from a server to whoever asked it.

The operator, the command line, a replica during its handshake and the tests talk to servers with it. It
keeps its place between any two bytes and holds open arrays on a list of its own instead of recursing, so a
hostile stream costs memory of its own size only; what no server sends is refused as a ProtocolError.

Who calls it: whoever owns the link; `feed` what arrived, then `next` until it says NEED_MORE. It sends and
decides nothing; an error of the server is a value (ErrorReply), not an exception.

Rules: the RESP protocol specification of the Redis documentation (RESP2 and RESP3).
"""

from __future__ import annotations

from typing import Any, Final

from redoubt.resp.replies import (
    NULL_ARRAY,
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
)

# A decoder refuses what no server sends, before it allocates for it.
BULK_BYTES_MAX: Final = 512 * 1024 * 1024  # Redis: proto-max-bulk-len
ITEMS_MAX: Final = 1 << 31
DEPTH_MAX: Final = 128
LINE_BYTES_MAX: Final = 1024 * 1024


class NeedMore:
    """The stream ends inside a reply; use the constant NEED_MORE."""

    def __repr__(self) -> str:
        return "NEED_MORE"


NEED_MORE: Final = NeedMore()


class OpenAggregate:
    """An array, set, map or push whose items are still arriving."""

    def __init__(self, mark: int, count: int) -> None:
        self.mark = mark
        self.count = count
        self.items: list[Any] = []


class ReplyDecoder:
    """An incremental decoder for one stream of replies."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.position = 0
        self.open: list[OpenAggregate] = []
        self.bulk_length = -1  # length of the bulk whose header has been read
        self.bulk_mark = 0
        # Who listens to MONITOR may want more: a line shows a whole command, some bytes as four.
        self.line_bytes_max = LINE_BYTES_MAX

    def feed(self, data: bytes) -> None:
        """Take bytes that arrived."""
        if self.position:
            del self.buffer[: self.position]
            self.position = 0
        self.buffer += data

    def take_rest(self) -> bytes:
        """Hand over what has not been decoded; a replica continues there with the master's snapshot."""
        rest = bytes(self.buffer[self.position :])
        self.buffer.clear()
        self.position = 0
        return rest

    def next(self) -> Reply | NeedMore:
        """Return the next whole reply, or NEED_MORE. Raises ProtocolError."""
        while True:
            value = self.scalar()
            if isinstance(value, NeedMore):
                return NEED_MORE
            if isinstance(value, OpenAggregate):
                if value.count > 0:
                    if len(self.open) >= DEPTH_MAX:
                        raise ProtocolError(b"reply nested too deeply")
                    self.open.append(value)
                    continue
                value = closed(value)
                if value is NEED_MORE:  # an empty attribute: the reply itself follows
                    continue
            while self.open:
                top = self.open[-1]
                top.items.append(value)
                if len(top.items) < top.count:
                    break
                self.open.pop()
                value = closed(top)
                if isinstance(value, NeedMore):
                    break
            else:
                whole: Reply = value
                return whole

    def scalar(self) -> Any:
        """Return the next value without items, an OpenAggregate for one with items, or NEED_MORE."""
        if self.bulk_length >= 0:
            return self.bulk()
        line_end = self.buffer.find(b"\r\n", self.position)
        if line_end < 0:
            if len(self.buffer) - self.position > self.line_bytes_max:
                raise ProtocolError(b"reply line too long")
            return NEED_MORE
        mark = self.buffer[self.position]
        line = bytes(self.buffer[self.position + 1 : line_end])
        self.position = line_end + 2
        return self.typed(mark, line)

    def typed(self, mark: int, line: bytes) -> Any:
        """Turn one line into its value; for a bulk string go on with its body."""
        if mark == 0x24 or mark == 0x3D or mark == 0x21:  # $ = !
            length = number(line)
            if length == -1 and mark == 0x24:
                return None
            if not 0 <= length <= BULK_BYTES_MAX:
                raise ProtocolError(b"bad bulk length in reply")
            self.bulk_length = length
            self.bulk_mark = mark
            return self.bulk()
        if mark == 0x2B:  # +
            return SimpleString(line)
        if mark == 0x2D:  # -
            return ErrorReply(line)
        if mark == 0x3A:  # :
            return number(line)
        if mark == 0x5F:  # _
            return None
        if mark == 0x23 and line in (b"t", b"f"):  # #
            return Boolean(line == b"t")
        if mark == 0x2C:  # ,
            return double(line)
        if mark == 0x28:  # (
            return BigNumber(number(line))
        if mark in b"*~>%|":
            return aggregate(mark, number(line))
        raise ProtocolError(b"unknown reply type " + repr(chr(mark)).encode())

    def bulk(self) -> Any:
        """Return the body of the bulk whose header has been read, or NEED_MORE."""
        start = self.position
        end = start + self.bulk_length
        if len(self.buffer) < end + 2:
            return NEED_MORE
        body = bytes(self.buffer[start:end])
        self.position = end + 2
        self.bulk_length = -1
        if self.bulk_mark == 0x24:
            return body
        if self.bulk_mark == 0x21:
            return ErrorReply(body)
        return Verbatim(body[4:], body[:3])


def aggregate(mark: int, count: int) -> Any:
    """Begin an array, set, push, map or attribute of so many items (pairs for the last two)."""
    if count == -1 and mark == 0x2A:
        return NULL_ARRAY
    if not 0 <= count <= ITEMS_MAX:
        raise ProtocolError(b"bad item count in reply")
    return OpenAggregate(mark, 2 * count if mark in b"%|" else count)


def closed(whole: OpenAggregate) -> Any:
    """Make the value of a complete aggregate; NEED_MORE for an attribute, which is only about the next."""
    items = whole.items
    if whole.mark == 0x2A:
        return items
    if whole.mark == 0x7E:
        return SetReply(items)
    if whole.mark == 0x3E:
        return Push(items)
    if whole.mark == 0x25:
        return MapReply(list(zip(items[::2], items[1::2], strict=True)))
    return NEED_MORE


def number(line: bytes) -> int:
    """Read a decimal integer; anything else ends the connection."""
    digits = line[1:] if line[:1] in (b"-", b"+") else line
    if not digits.isdigit() or len(digits) > 4096:
        raise ProtocolError(b"bad number in reply")
    return int(line)


def double(line: bytes) -> Double:
    """Read a RESP3 double."""
    try:
        return Double(float(line))
    except ValueError as error:
        raise ProtocolError(b"bad double in reply") from error
