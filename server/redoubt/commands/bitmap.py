"""Bits of strings: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP.

A string that gets a bit becomes one that is changed in place, so that a further SETBIT costs one byte and not
a copy of the string. A bit that is set to what it was is no change, and is not propagated. Integers of other
widths are in `bitfield`.

Source: the Redis command reference, group "bitmap", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import integer
from redoubt.commands.declare import (
    ACCESS,
    BITMAP,
    DENYOOM,
    FAST,
    OW,
    READONLY,
    RO,
    RW,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.reading import read_text, writable_text
from redoubt.commands.string_range import overwrite
from redoubt.data import bits
from redoubt.data.text import INTEGER_MAX, parse_integer, text_bytes, text_length
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_STRING
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

_BAD_OFFSET: Final = b"ERR bit offset is not an integer or out of range"
_BAD_BIT: Final = b"ERR bit is not an integer or out of range"
_SYNTAX_ERROR: Final = b"ERR syntax error"


def bit_offset(ctx: Session, word: bytes, width: int = 0) -> int:
    """Read the place of a bit, or, if there is a width, `#n`: the n-th field of it; raises CommandError."""
    is_counted = width > 0 and word[:1] == b"#"
    number = parse_integer(word[1:] if is_counted else word)
    if number is None:
        raise CommandError(_BAD_OFFSET)
    if is_counted:
        number *= width
    is_too_far = number >> 3 >= ctx.state.config.proto_max_bulk_len and not ctx.is_master_link
    if number < 0 or is_too_far or number > INTEGER_MAX:
        raise CommandError(_BAD_OFFSET)
    return number


@command("SETBIT", "key offset value:integer", group=BITMAP, flags=WRITE | DENYOOM,
         use=RW | ACCESS | UPDATE, since="2.2.0", complexity="O(1)",
         summary="Set or clear one bit of a string value; return what it was.")  # fmt: skip
def setbit(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    place = bit_offset(ctx, argv[2])
    bit = integer(argv[3], _BAD_BIT)
    if bit not in (0, 1):
        raise CommandError(_BAD_BIT)
    found = writable_text(ctx, key)
    value = b"" if found is None else found
    old = bits.bit_at(value, place)
    at = place >> 3
    if bit == old and at < text_length(value):
        return old
    mask = 0x80 >> (place & 7)
    byte = bits.field(value, at * 8, 8, False)
    overwrite(ctx, key, value, at, bytes((byte | mask if bit else byte & ~mask,)))
    ctx.notify(EVENT_STRING, b"setbit", key)
    return old


@command("GETBIT", "key offset", group=BITMAP, flags=READONLY | FAST, use=RO | ACCESS, since="2.2.0",
         complexity="O(1)", summary="Return one bit of a string value.")  # fmt: skip
def getbit(ctx: Session, argv: list[bytes]) -> Reply:
    place = bit_offset(ctx, argv[2])
    value = read_text(ctx, argv[1])
    return 0 if value is None else bits.bit_at(value, place)


def _is_in_bits(word: bytes) -> bool:
    """Read BIT or BYTE, which says in what a range is given."""
    unit = word.upper()
    if unit not in (b"BIT", b"BYTE"):
        raise CommandError(_SYNTAX_ERROR)
    return unit == b"BIT"


class _BitRange:
    """A range within a string as the words of a call name it, in bits; empty if first > last."""

    def __init__(self, start: int, end: int, is_in_bits: bool, length: int) -> None:
        total = length * 8 if is_in_bits else length
        start = max(0, start + total if start < 0 else start)
        end = min(max(0, end + total if end < 0 else end), total - 1)
        self.first = start if is_in_bits else start * 8
        self.last = end if is_in_bits else end * 8 + 7


@command("BITCOUNT", "key [start end [BYTE | BIT]]", group=BITMAP, flags=READONLY, use=RO | ACCESS,
         since="2.6.0", complexity="O(N) for N bytes",
         summary="Count the set bits of a string value, or of a part of it.")  # fmt: skip
def bitcount(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 3 or len(argv) > 5:
        raise CommandError(_SYNTAX_ERROR)
    start, end = 0, -1
    is_in_bits = False
    if len(argv) > 2:
        start, end = integer(argv[2]), integer(argv[3])
        is_in_bits = len(argv) == 5 and _is_in_bits(argv[4])
    value = read_text(ctx, argv[1])
    if value is None or (start < 0 and end < 0 and start > end):
        return 0
    wanted = _BitRange(start, end, is_in_bits, text_length(value))
    return bits.count(value, wanted.first, wanted.last) if wanted.first <= wanted.last else 0


@command("BITPOS", "key bit [start [end [BYTE | BIT]]]", group=BITMAP, flags=READONLY, use=RO | ACCESS,
         since="2.8.7", complexity="O(N) for N bytes",
         summary="Find the first bit of a string value that is set, or clear.")  # fmt: skip
def bitpos(ctx: Session, argv: list[bytes]) -> Reply:
    bit = integer(argv[2])
    if bit not in (0, 1):
        raise CommandError(b"ERR The bit argument must be 1 or 0.")
    if len(argv) > 6:
        raise CommandError(_SYNTAX_ERROR)
    start = integer(argv[3]) if len(argv) > 3 else 0
    is_in_bits = len(argv) == 6 and _is_in_bits(argv[5])
    end = integer(argv[4]) if len(argv) > 4 else -1
    value = read_text(ctx, argv[1])
    if value is None:
        return -1 if bit else 0
    length = text_length(value)
    wanted = _BitRange(start, end, is_in_bits, length)
    if wanted.first > wanted.last:
        return -1
    place = bits.find(value, bit, wanted.first, wanted.last)
    # Without an end the string goes on in zeros.
    return length * 8 if place < 0 and bit == 0 and len(argv) < 5 else place


@command("BITOP", "operation destkey:key key [key ...]", group=BITMAP, flags=WRITE | DENYOOM,
         use=(OW | UPDATE, RO | ACCESS), since="2.6.0", complexity="O(N) for N bytes of all keys",
         summary="Store what AND, OR, XOR or NOT make of string values.")  # fmt: skip
def bitop(ctx: Session, argv: list[bytes]) -> Reply:
    name = argv[1].upper()
    if name not in (b"AND", b"OR", b"XOR", b"NOT"):
        raise CommandError(_SYNTAX_ERROR)
    if name == b"NOT" and len(argv) != 4:
        raise CommandError(b"ERR BITOP NOT must be called with a single source key.")
    texts: list[bytes] = []
    for key in argv[3:]:
        value = read_text(ctx, key)
        texts.append(b"" if value is None else text_bytes(value))
    target = argv[2]
    if not any(texts):
        if ctx.db.delete(target):
            ctx.notify(EVENT_GENERIC, b"del", target)
        return 0
    if name == b"NOT":
        result = bits.complement(texts[0])
    else:
        operation = bits.AND if name == b"AND" else bits.OR if name == b"OR" else bits.XOR
        result = bits.combine(operation, texts)
    ctx.overwrite(target, result)
    ctx.notify(EVENT_STRING, b"set", target)
    return len(result)
