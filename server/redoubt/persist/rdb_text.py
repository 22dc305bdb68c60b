"""Strings in RDB: lengths, the four encodings, and the pair of writer and reader for string values.

Keys, auxiliary fields and the elements of every later type are written by `write_text` and read by
`RdbSource.text`; the value classes of strings are bytes, int (a counter) and GrowableText (grown in place).
Numbers that fit 32 bits and look canonical take 2 to 5 bytes, texts of more than 20 bytes are compressed by
LZF where that makes them smaller: both exactly as Redis does, so that files have the same size.

Source: Redis `src/rdb.c` (rdbSaveRawString, rdbTryIntegerEncoding, rdbSaveLzfStringObject).
"""

from __future__ import annotations

from typing import Final

import lzf

from redoubt.data.text import GrowableText, Value, parse_integer
from redoubt.persist.rdb_format import ENCODING_INT8, ENCODING_INT16, ENCODING_INT32, TYPE_TEXT
from redoubt.persist.rdb_source import RdbSource
from redoubt.persist.rdb_value import ValueReader, ValueWriter

# Redis: shorter strings are not worth compressing.
COMPRESSED_BYTES_MIN: Final = 21
# "-2147483648": longer texts cannot be 32-bit integers.
INTEGER_DIGITS_MAX: Final = 11

_SHORT_LENGTHS: Final = [bytes([length]) for length in range(64)]
_LZF_MARK: Final = b"\xc3"


class TextWriter(ValueWriter):
    """Writes strings, whichever of the three classes holds them."""

    def type_byte(self, value: Value) -> int:
        """Name the type byte of strings."""
        return TYPE_TEXT

    def write(self, value: Value, is_compressed: bool, out: list[bytes]) -> None:
        """Append the string in its smallest encoding."""
        if isinstance(value, bytes):
            write_text(value, is_compressed, out)
        elif isinstance(value, int):
            write_integer(value, out)
        else:
            assert isinstance(value, GrowableText)
            write_text(value.content(), is_compressed, out)


class TextReader(ValueReader):
    """Reads strings of every encoding; stateless."""

    def read(self, source: RdbSource) -> Value:
        """Read one string value: an int where the text is a canonical 64-bit integer."""
        return source.text_or_int()


def write_length(length: int, out: list[bytes]) -> None:
    """Append a length or a small number in 1, 2, 5 or 9 bytes."""
    if length < 64:
        out.append(_SHORT_LENGTHS[length])
    elif length < 16384:
        out.append((length | 0x4000).to_bytes(2, "big"))
    elif length < 1 << 32:
        out.append(b"\x80" + length.to_bytes(4, "big"))
    else:
        out.append(b"\x81" + length.to_bytes(8, "big"))


def write_text(text: bytes, is_compressed: bool, out: list[bytes]) -> None:
    """Append a string in the smallest of its encodings."""
    size = len(text)
    if size <= INTEGER_DIGITS_MAX:
        if size and text[0] <= 57 and (number := parse_integer(text)) is not None:
            write_integer(number, out)
            return
    elif is_compressed and size >= COMPRESSED_BYTES_MIN:
        # Redis accepts a gain of four bytes or more, what the lengths around it cost.
        packed = lzf.compress(text, size - 4)
        if packed is not None:
            out.append(_LZF_MARK)
            write_length(len(packed), out)
            write_length(size, out)
            out.append(packed)
            return
    write_length(size, out)
    out.append(text)


def write_integer(number: int, out: list[bytes]) -> None:
    """Append the decimal text of a number: as 8, 16 or 32 bits where it fits, else as digits."""
    if -128 <= number <= 127:
        out.append(bytes([0xC0 | ENCODING_INT8, number & 0xFF]))
    elif -32768 <= number <= 32767:
        out.append(bytes([0xC0 | ENCODING_INT16]) + number.to_bytes(2, "little", signed=True))
    elif -(1 << 31) <= number < 1 << 31:
        out.append(bytes([0xC0 | ENCODING_INT32]) + number.to_bytes(4, "little", signed=True))
    else:
        digits = b"%d" % number
        write_length(len(digits), out)
        out.append(digits)
