"""The three representations of a string value, and how readers see one in place of three.

A string is plain `bytes`; a value that reads as a canonical 64-bit integer may be plain `int` (a counter:
no parsing at each INCR); a string that is changed in place (APPEND, SETRANGE, SETBIT) becomes a
`GrowableText`, since rebuilding 64 MiB of immutable bytes for one changed byte takes 64 ms. Nothing outside
this module depends on which of the three it meets: it calls `text_bytes`, `text_length` or `text_integer`.

Called by the string commands, the bitmap commands and the snapshot writer. What this module does not do:
look keys up, or decide that a value has the wrong type.
Source of the integer rule: Redis's string2ll, which accepts only what it would print itself.
"""

from __future__ import annotations

from typing import Final

from redoubt.data.structure import Structure

INTEGER_MIN: Final = -(1 << 63)
INTEGER_MAX: Final = (1 << 63) - 1
# A canonical 64-bit integer has at most 19 digits and a sign.
INTEGER_LENGTH_MAX: Final = 20

# How Redis names the representations (OBJECT ENCODING). Strings of up to 44 bytes share one allocation with
# their header there; we report the same names for the same values.
EMBSTR_LENGTH_MAX: Final = 44


class GrowableText:
    """A string that is changed in place. Its owner is the keyspace; readers get copies."""

    def __init__(self, content: bytes) -> None:
        self.buffer = bytearray(content)

    def append(self, tail: bytes) -> int:
        """Add `tail` at the end; return the new length. Amortised O(len(tail))."""
        self.buffer += tail
        return len(self.buffer)

    def overwrite(self, offset: int, patch: bytes) -> int:
        """Write `patch` at `offset`, filling a gap with zero bytes; return the new length."""
        gap = offset - len(self.buffer)
        if gap > 0:
            self.buffer += bytes(gap)
        self.buffer[offset : offset + len(patch)] = patch
        return len(self.buffer)

    def slice(self, first: int, past: int) -> bytes:
        """Return the bytes from `first` up to before `past`."""
        return bytes(memoryview(self.buffer)[first:past])  # one copy, not two

    def content(self) -> bytes:
        """Return a copy of the whole string, O(n)."""
        return bytes(self.buffer)

    def size_bytes(self) -> int:
        """Return what this value occupies, spare room included."""
        return 80 + self.buffer.__sizeof__()


Text = bytes | int | GrowableText
# What the keyspace holds: a string, or one of the other data types, which subclass Structure.
Value = Text | Structure


def text_bytes(value: Text) -> bytes:
    """Return the string that a value of any of the three representations stands for."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return b"%d" % value
    return value.content()


def text_length(value: Text) -> int:
    """Return the length of the string without building it, except for integers."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, int):
        return len(b"%d" % value)
    return len(value.buffer)


def text_slice(value: Text, first: int, past: int) -> bytes:
    """Return the bytes from `first` up to before `past`, copying no more than these."""
    if isinstance(value, GrowableText):
        return value.slice(first, past)
    return text_bytes(value)[first:past]


def text_integer(value: Text) -> int | None:
    """Return the value as a 64-bit integer, or None if it is not a canonical one."""
    if isinstance(value, int):
        return value
    if isinstance(value, bytes):
        return parse_integer(value)
    if len(value.buffer) > INTEGER_LENGTH_MAX:
        return None
    return parse_integer(value.content())


def parse_integer(text: bytes) -> int | None:
    """Parse a canonical 64-bit decimal integer: no spaces, plus sign or leading zeros, and no minus zero."""
    length = len(text)
    if length == 0 or length > INTEGER_LENGTH_MAX:
        return None
    place = 0
    if text[0] == 45:  # a minus sign
        place = 1
        if length == 1 or text[1] == 48:
            return None
    elif text[0] == 48 and length > 1:
        return None
    number = 0
    # Digit by digit: compiled, that is a few instructions each, a third of what int() takes.
    while place < length:
        digit = text[place] - 48
        if digit < 0 or digit > 9:
            return None
        number = number * 10 + digit
        place += 1
    if text[0] == 45:
        number = -number
    return number if INTEGER_MIN <= number <= INTEGER_MAX else None


def copy_of(value: Value) -> Value:
    """Return a value that changes independently of this one."""
    if isinstance(value, Structure):
        return value.copy()
    return GrowableText(value.content()) if isinstance(value, GrowableText) else value


def type_name(value: Value) -> bytes:
    """Return the name under which TYPE and SCAN know the value."""
    return value.type_name() if isinstance(value, Structure) else b"string"


def encoding_name(value: Value) -> bytes:
    """Return the name under which OBJECT ENCODING reports the value."""
    if isinstance(value, bytes):
        # A short digit string is kept as bytes here until it is first used as a number; Redis has
        # already made it an integer, so clients expect that name.
        if parse_integer(value) is not None:
            return b"int"
        return b"embstr" if len(value) <= EMBSTR_LENGTH_MAX else b"raw"
    if isinstance(value, int):
        return b"int"
    return value.encoding_name() if isinstance(value, Structure) else b"raw"
