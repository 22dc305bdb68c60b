"""Integers of 1 to 64 bits at any bit of a string: BITFIELD and BITFIELD_RO.

The whole call is read before anything is done; then the string grows to the furthest bit that is written, and
the operations run in turn, each seeing what those before it wrote. What does not fit wraps, saturates or
fails (null, and nothing written), as the latest OVERFLOW says.

Source: the Redis command reference, BITFIELD, as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.bitmap import bit_offset
from redoubt.commands.declare import (
    ACCESS,
    BITMAP,
    DENYOOM,
    FAST,
    READONLY,
    RO,
    RW,
    UPDATE,
    VARIABLE_FLAGS,
    WRITE,
    command,
)
from redoubt.commands.reading import read_text, writable_text
from redoubt.commands.string_range import overwrite
from redoubt.data import bits
from redoubt.data.text import Text, parse_integer, text_length
from redoubt.keyspace_events import EVENT_STRING
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

GET: Final = 0
SET: Final = 1
INCREMENT: Final = 2

WRAP: Final = 0
SATURATE: Final = 1
FAIL: Final = 2

_BAD_TYPE: Final = (
    b"ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
)
_WIDTH_MAX: Final = 64


class Operation:
    """One operation of a call."""

    def __init__(self, kind: int, overflow: int) -> None:
        self.kind = kind
        self.overflow = overflow
        self.width = 0
        self.is_signed = False
        self.place = 0
        # What is set or added.
        self.number = 0

    def result(self, old: int) -> int | None:
        """Return what SET or INCRBY stores in place of the old number; None: nothing (OVERFLOW FAIL)."""
        number = self.number
        if self.kind == INCREMENT:
            number += old
        elif not self.is_signed and number < 0:
            number += 1 << _WIDTH_MAX  # as in C, where it is a large number and no negative one
        least = -1 << (self.width - 1) if self.is_signed else 0
        most = least + (1 << self.width) - 1
        if least <= number <= most:
            return number
        if self.overflow == FAIL:
            return None
        if self.overflow == SATURATE:
            return most if number > most else least
        return least + (number - least) % (1 << self.width)


def _parse(ctx: Session, argv: list[bytes]) -> list[Operation]:
    operations: list[Operation] = []
    overflow = WRAP
    arguments = Arguments(argv, 2)
    while arguments.has_more():
        word = arguments.keyword()
        if word == b"OVERFLOW" and arguments.has_more():
            overflow = _overflow(arguments.keyword())
            continue
        if word == b"GET" and arguments.left() >= 2:
            operation = Operation(GET, overflow)
        elif word == b"SET" and arguments.left() >= 3:
            operation = Operation(SET, overflow)
        elif word == b"INCRBY" and arguments.left() >= 3:
            operation = Operation(INCREMENT, overflow)
        else:
            raise arguments.syntax_error()
        _parse_type(operation, arguments.word())
        operation.place = bit_offset(ctx, arguments.word(), operation.width)
        if operation.kind != GET:
            operation.number = arguments.integer()
        operations.append(operation)
    return operations


def _overflow(word: bytes) -> int:
    if word == b"WRAP":
        return WRAP
    if word == b"SAT":
        return SATURATE
    if word == b"FAIL":
        return FAIL
    raise CommandError(b"ERR Invalid OVERFLOW type specified")


def _parse_type(operation: Operation, word: bytes) -> None:
    """Read i1 to i64, or u1 to u63: clients could not be told larger unsigned numbers."""
    operation.is_signed = word[:1] == b"i"
    width = parse_integer(word[1:])
    widest = _WIDTH_MAX if operation.is_signed else _WIDTH_MAX - 1
    if word[:1] not in (b"i", b"u") or width is None or not 1 <= width <= widest:
        raise CommandError(_BAD_TYPE)
    operation.width = width


@command("BITFIELD",
         "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>]"
         " <SET encoding offset value:integer | INCRBY encoding offset increment>]...",
         group=BITMAP, flags=WRITE | DENYOOM, use=RW | ACCESS | UPDATE | VARIABLE_FLAGS, since="3.2.0",
         complexity="O(1) for each operation",
         summary="Read, set and increment integers of any width in a string value.")  # fmt: skip
def bitfield(ctx: Session, argv: list[bytes]) -> Reply:
    operations = _parse(ctx, argv)
    length = max([_past_byte(each) for each in operations if each.kind != GET], default=0)
    if length == 0:
        return _read(ctx, argv[1], operations)
    key = argv[1]
    value = writable_text(ctx, key)
    is_grown = value is None or text_length(value) < length
    if value is None or is_grown:
        value = overwrite(ctx, key, b"" if value is None else value, length - 1, b"\0")
    reply: list[Reply] = []
    is_changed = False
    for operation in operations:
        old = bits.field(value, operation.place, operation.width, operation.is_signed)
        if operation.kind == GET:
            reply.append(old)
            continue
        new = operation.result(old)
        if new is not None and new != old:
            patch = bits.with_field(value, operation.place, operation.width, new)
            value = overwrite(ctx, key, value, operation.place >> 3, patch)
        # Where all fails the string may have grown all the same; Redis says nothing of that.
        is_changed = is_changed or (new is not None and (is_grown or new != old))
        reply.append(old if operation.kind == SET and new is not None else new)
    if is_changed:
        ctx.notify(EVENT_STRING, b"setbit", key)
    return reply


@command("BITFIELD_RO", "key [GET encoding offset [GET encoding offset ...]]", group=BITMAP,
         flags=READONLY | FAST, use=RO | ACCESS, since="6.0.0", complexity="O(1) for each operation",
         summary="Read integers of any width in a string value.")  # fmt: skip
def bitfield_ro(ctx: Session, argv: list[bytes]) -> Reply:
    operations = _parse(ctx, argv)
    for operation in operations:
        if operation.kind != GET:
            raise CommandError(b"ERR BITFIELD_RO only supports the GET subcommand")
    return _read(ctx, argv[1], operations)


def _past_byte(operation: Operation) -> int:
    return (operation.place + operation.width + 7) >> 3


def _read(ctx: Session, key: bytes, operations: list[Operation]) -> Reply:
    found = read_text(ctx, key)
    value: Text = b"" if found is None else found
    return [bits.field(value, each.place, each.width, each.is_signed) for each in operations]
