"""Bits of strings: counting, finding, combining, and integers of any width at any offset.

Bit 0 is the highest bit of the first byte, as in Redis. No function looks at bits one by one: Python's
integers count and combine them 30 at a time, and long strings are taken in pieces, so that the copies stay
small and in the cache. A `GrowableText` is read in place.

Called by the bitmap commands. It knows no keys and changes nothing.
Source: the Redis command reference, group "bitmap".
"""

from __future__ import annotations

from typing import Final

from redoubt.data.text import Text, text_length, text_slice

# Large enough that a piece costs more than the steps around it, small enough for the cache.
PIECE_BYTES: Final = 64 * 1024
_ZEROS: Final = bytes(PIECE_BYTES)
_ONES: Final = b"\xff" * PIECE_BYTES
_COMPLEMENT: Final = bytes(range(255, -1, -1))

AND: Final = 0
OR: Final = 1
XOR: Final = 2


def count(value: Text, first: int, last: int) -> int:
    """Count the set bits from bit `first` to bit `last`, both within the string."""
    total = 0
    past_byte = (last >> 3) + 1
    for at in range(first >> 3, past_byte, PIECE_BYTES):
        piece = text_slice(value, at, min(at + PIECE_BYTES, past_byte))
        if piece != _ZEROS:  # most of a sparse bitmap
            total += int.from_bytes(piece, "little").bit_count()
    before = text_slice(value, first >> 3, (first >> 3) + 1)[0] >> (8 - (first & 7))
    behind = text_slice(value, last >> 3, past_byte)[0] & ((1 << (7 - (last & 7))) - 1)
    return total - before.bit_count() - behind.bit_count()


def find(value: Text, bit: int, first: int, last: int) -> int:
    """Return the place of the first bit that is `bit`, from bit `first` to bit `last`; -1: none is."""
    at = first >> 3
    past_byte = (last >> 3) + 1
    # Bits of the first byte that lie before the range are made such as are not looked for.
    head = text_slice(value, at, at + 1)[0] ^ (0 if bit else 0xFF)
    head &= 0xFF >> (first & 7)
    if head:
        found = at * 8 + 8 - head.bit_length()
        return found if found <= last else -1
    at += 1
    while at < past_byte:
        piece = text_slice(value, at, min(at + PIECE_BYTES, past_byte))
        length = len(piece)
        if piece != (_ZEROS[:length] if bit else _ONES[:length]):
            rest = piece.lstrip(b"\x00" if bit else b"\xff")
            different = rest[0] if bit else rest[0] ^ 0xFF
            found = (at + length - len(rest)) * 8 + 8 - different.bit_length()
            return found if found <= last else -1
        at += length
    return -1


def bit_at(value: Text, place: int) -> int:
    """Return one bit; those behind the end are 0."""
    byte = text_slice(value, place >> 3, (place >> 3) + 1)
    return byte[0] >> (7 - (place & 7)) & 1 if byte else 0


def combine(operation: int, texts: list[bytes]) -> bytes:
    """Combine strings bit by bit; shorter ones count as filled up with zero bytes."""
    length = max([len(text) for text in texts])
    result = int.from_bytes(texts[0], "little")
    for text in texts[1:]:
        number = int.from_bytes(text, "little")
        if operation == AND:
            result &= number
        elif operation == OR:
            result |= number
        else:
            result ^= number
    return result.to_bytes(length, "little")


def complement(text: bytes) -> bytes:
    """Invert every bit."""
    return text.translate(_COMPLEMENT)


def field(value: Text, place: int, width: int, is_signed: bool) -> int:
    """Return the integer of `width` bits that begins at bit `place`; what lies behind the end is 0."""
    first = place >> 3
    past = (place + width + 7) >> 3
    piece = text_slice(value, first, past)
    number = int.from_bytes(piece, "big") << 8 * (past - first - len(piece))
    number = number >> (8 * past - place - width) & ((1 << width) - 1)
    if is_signed and number >> (width - 1):
        number -= 1 << width
    return number


def with_field(value: Text, place: int, width: int, number: int) -> bytes:
    """Return the bytes around a field as they become when it is set; they begin at byte `place >> 3`.

    The string must reach to the end of the field.
    """
    first = place >> 3
    past = (place + width + 7) >> 3
    assert past <= text_length(value)
    shift = 8 * past - place - width
    mask = (1 << width) - 1
    around = int.from_bytes(text_slice(value, first, past), "big")
    around = around & ~(mask << shift) | (number & mask) << shift
    return around.to_bytes(past - first, "big")
