"""The closed union of replies and their encoding in RESP2 and RESP3.

A handler returns a value of `Reply`; only the last step before the socket turns it into bytes, so that EXEC,
scripts and the tests see values. Strings, integers, nulls and arrays are Python's own; what RESP knows beyond
them is one small class each. `encode` appends pieces to a list, which the runtime joins once per flush.

Every handler and the dispatcher call it; `redoubt.resp.decoder` is the other direction. Nothing here knows
commands or connections.

Rules: the RESP protocol specification of the Redis documentation (RESP2 and RESP3).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from redoubt.resp.doubles import double_text

CRLF: Final = b"\r\n"

# Headers of bulk strings and small integers below this are looked up instead of formatted (0.3 MB each).
HEADERS: Final = 4096
BULK_HEADERS: Final[list[bytes]] = [b"$%d\r\n" % length for length in range(HEADERS)]
# The end of one bulk string and the header of the next: one piece instead of two within an array.
NEXT_BULK_HEADERS: Final[list[bytes]] = [b"\r\n$%d\r\n" % length for length in range(HEADERS)]
INTEGERS: Final[list[bytes]] = [b":%d\r\n" % number for number in range(HEADERS)]


# An error may quote what a client has sent, and readers of lines have limits. Redis sends them whole.
ERROR_BYTES_MAX: Final = 64 * 1024


class SimpleString:
    """A status such as OK; `text` without the leading plus."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.wire = b"+" + text + CRLF

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimpleString) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"SimpleString({self.text!r})"


class ErrorReply:
    """An error as a value; `text` starts with its code ("ERR ..."), without the leading minus."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErrorReply) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"ErrorReply({self.text!r})"


class CommandError(Exception):
    """An expected answer to a client, raised where a handler cannot return it."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class ProtocolError(Exception):
    """The peer broke the protocol; the connection ends after the text has been sent as an error."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class MapReply:
    """A map, in the order given; RESP2 clients get a flat array of keys and values."""

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.pairs = pairs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MapReply) and other.pairs == self.pairs

    def __hash__(self) -> int:
        return hash(len(self.pairs))

    def __repr__(self) -> str:
        return f"MapReply({self.pairs!r})"


class SetReply:
    """A set, in the order given; RESP2 clients get an array."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SetReply) and other.items == self.items

    def __hash__(self) -> int:
        return hash(len(self.items))

    def __repr__(self) -> str:
        return f"SetReply({self.items!r})"


class Push:
    """A message that answers no command; RESP2 subscribers get an array."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Push) and other.items == self.items

    def __hash__(self) -> int:
        return hash(len(self.items))

    def __repr__(self) -> str:
        return f"Push({self.items!r})"


class Pushes:
    """The pushes that one SUBSCRIBE or UNSUBSCRIBE makes, one for each channel."""

    def __init__(self, pushes: list[Push]) -> None:
        self.pushes = pushes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pushes) and other.pushes == self.pushes

    def __hash__(self) -> int:
        return hash(len(self.pushes))

    def __repr__(self) -> str:
        return f"Pushes({self.pushes!r})"


class Double:
    """A floating point number; RESP2 clients get its text, which is the shortest unless another is given."""

    def __init__(self, value: float, text: bytes = b"") -> None:
        self.value = value
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Double) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Double({self.value!r})"


class Boolean:
    """True or false; RESP2 clients get 1 or 0. A class of its own: a bool in an int place compiles to 1."""

    def __init__(self, value: bool) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boolean) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Boolean({self.value!r})"


class Verbatim:
    """Text for people, with its format (txt, mkd); RESP2 clients get a bulk string."""

    def __init__(self, text: bytes, form: bytes = b"txt") -> None:
        self.text = text
        self.form = form

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verbatim) and other.text == self.text and other.form == self.form

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Verbatim({self.text!r}, {self.form!r})"


class BigNumber:
    """An integer beyond 64 bits; RESP2 clients get its text."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BigNumber) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"BigNumber({self.value!r})"


class NullArray:
    """The absent array (RESP2 knows two nulls); use the constant NULL_ARRAY."""

    def __repr__(self) -> str:
        return "NULL_ARRAY"


class NoReply:
    """The handler blocks the client or answers later; use the constant NO_REPLY."""

    def __repr__(self) -> str:
        return "NO_REPLY"


# list[Any], since list is invariant: a handler may return its list[bytes] as it is.
Reply: TypeAlias = (
    bytes
    | int
    | SimpleString
    | ErrorReply
    | list[Any]
    | MapReply
    | SetReply
    | Push
    | Pushes
    | Double
    | Boolean
    | Verbatim
    | BigNumber
    | NullArray
    | NoReply
    | None
)

OK: Final = SimpleString(b"OK")
PONG: Final = SimpleString(b"PONG")
QUEUED: Final = SimpleString(b"QUEUED")
NULL_ARRAY: Final = NullArray()
NO_REPLY: Final = NoReply()


def encode(reply: Reply, resp: int, out: list[bytes]) -> None:
    """Append the bytes of `reply` for protocol version `resp` (2 or 3) to `out`, in pieces."""
    if isinstance(reply, bytes):
        encode_bulk(reply, out)
    elif isinstance(reply, int):
        out.append(INTEGERS[reply] if 0 <= reply < HEADERS else b":%d\r\n" % reply)
    elif isinstance(reply, SimpleString):
        out.append(reply.wire)
    elif reply is None:
        out.append(b"$-1\r\n" if resp == 2 else b"_\r\n")
    elif isinstance(reply, list):
        out.append(b"*%d\r\n" % len(reply))
        encode_items(reply, resp, out)
    elif isinstance(reply, ErrorReply):
        # A line break inside would end the reply early and desynchronise the client.
        text = reply.text if len(reply.text) <= ERROR_BYTES_MAX else reply.text[:ERROR_BYTES_MAX]
        if b"\r" in text or b"\n" in text:
            text = text.replace(b"\r", b" ").replace(b"\n", b" ")
        out.append(b"-%b\r\n" % text)
    elif isinstance(reply, NoReply):
        pass
    else:
        encode_rare(reply, resp, out)


def encode_bulk(data: bytes, out: list[bytes]) -> None:
    """Append a bulk string without copying it."""
    length = len(data)
    out.append(BULK_HEADERS[length] if length < HEADERS else b"$%d\r\n" % length)
    out.append(data)
    out.append(CRLF)


def encode_items(items: list[Any], resp: int, out: list[bytes]) -> None:
    """Append the items of an array one after the other."""
    is_open = False  # the line break behind the last bulk string is still to come
    for item in items:
        if isinstance(item, bytes):
            length = len(item)
            if length >= HEADERS:
                out.append(b"\r\n$%d\r\n" % length if is_open else b"$%d\r\n" % length)
            elif is_open:
                out.append(NEXT_BULK_HEADERS[length])
            else:
                out.append(BULK_HEADERS[length])
            out.append(item)
            is_open = True
            continue
        if is_open:
            out.append(CRLF)
            is_open = False
        encode(item, resp, out)
    if is_open:
        out.append(CRLF)


def encode_rare(reply: Reply, resp: int, out: list[bytes]) -> None:
    """Append the types that RESP3 added, or what stands for them in RESP2."""
    if isinstance(reply, MapReply):
        pairs = reply.pairs
        out.append(b"*%d\r\n" % (2 * len(pairs)) if resp == 2 else b"%%%d\r\n" % len(pairs))
        for key, value in pairs:
            encode(key, resp, out)
            encode(value, resp, out)
    elif isinstance(reply, (SetReply, Push)):
        mark = b"*" if resp == 2 else b"~" if isinstance(reply, SetReply) else b">"
        out.append(b"%b%d\r\n" % (mark, len(reply.items)))
        for item in reply.items:
            encode(item, resp, out)
    elif isinstance(reply, Pushes):
        for push in reply.pushes:
            encode(push, resp, out)
    elif isinstance(reply, NullArray):
        out.append(b"*-1\r\n" if resp == 2 else b"_\r\n")
    elif isinstance(reply, Boolean):
        truth = reply.value
        out.append((b":1\r\n" if truth else b":0\r\n") if resp == 2 else (b"#t\r\n" if truth else b"#f\r\n"))
    elif isinstance(reply, Double):
        text = reply.text or double_text(reply.value)
        if resp == 2:
            encode_bulk(text, out)
        else:
            out.append(b",%b\r\n" % text)
    elif isinstance(reply, Verbatim):
        if resp == 2:
            encode_bulk(reply.text, out)
        else:
            out.append(b"=%d\r\n%b:%b\r\n" % (len(reply.text) + 4, reply.form, reply.text))
    elif isinstance(reply, BigNumber):
        if resp == 2:
            encode_bulk(b"%d" % reply.value, out)
        else:
            out.append(b"(%d\r\n" % reply.value)
    else:
        raise AssertionError(f"not a reply: {reply!r}")


def encoded(reply: Reply, resp: int = 2) -> bytes:
    """Encode one reply into one piece."""
    out: list[bytes] = []
    encode(reply, resp, out)
    return b"".join(out)


def encode_command(argv: list[bytes]) -> bytes:
    """Encode a command as clients, masters and the operator send it: an array of bulk strings."""
    out = [b"*%d\r\n" % len(argv)]
    for argument in argv:
        encode_bulk(argument, out)
    return b"".join(out)
