"""The library `struct` of scripts: numbers and strings packed as C lays them out.

    < > =   byte order      !n  alignment      x   a zero byte       (space) nothing
    b B h H l L T           integers of 1, 2, 8 bytes, size_t        iN IN  integers of N bytes (4)
    f d                     float, double      s   a string and its zero byte
    cN                      N bytes; c0: packing the whole string, unpacking as many as the value before says

Source: the documentation of lua-struct (http://www.inf.puc-rio.br/~roberto/struct/) in Redis's version.
"""

from __future__ import annotations

import math
import struct
import sys
from typing import Any, Final

from redoubt.scripting.arguments import Arguments

INTEGER_BYTES_MAX: Final = 32
ALIGNMENT_DEFAULT: Final = 8
_SIZES: Final = {"b": 1, "B": 1, "h": 2, "H": 2, "l": 8, "L": 8, "T": 8, "f": 4, "d": 8, "x": 1, "s": 0}


class Option:
    """One letter of a format, with what the letters before it have set."""

    def __init__(self, letter: str, size: int, padding: int, is_little: bool) -> None:
        self.letter = letter
        self.size = size
        self.padding = padding
        self.is_little = is_little


class Format:
    """Reads a format letter by letter; the padding depends on the offset, which the caller keeps."""

    def __init__(self, text: bytes, arguments: Arguments, name: bytes) -> None:
        self.name = name  # of the function, for errors
        self.text = text.decode("latin-1")
        self.at = 0
        self.arguments = arguments
        self.is_little = sys.byteorder == "little"
        self.alignment = 1

    def number(self, default: int) -> int:
        """Read the number behind a letter."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in "0123456789":
            self.at += 1
        if self.at == start:
            return default
        if self.at - start > 9:
            raise self.arguments.fail(b"integral size overflow")
        return int(self.text[start : self.at])

    def next(self, offset: int) -> Option | None:
        """Return the next letter that stands for data; None at the end."""
        while self.at < len(self.text):
            letter = self.text[self.at]
            self.at += 1
            if letter in " <>=!":
                self.set(letter)
                continue
            size = _SIZES.get(letter, -1)
            if letter == "c":
                size = self.number(1)
            elif letter in "iI":
                size = self.number(4)
                if size > INTEGER_BYTES_MAX:
                    raise self.arguments.fail(
                        b"integral size %d is larger than limit of %d" % (size, INTEGER_BYTES_MAX)
                    )
            if size < 0:
                raise self.arguments.fail(
                    b"bad argument #1 to '%s' (invalid format option '%s')"
                    % (self.name, letter.encode("latin-1"))
                )
            return Option(letter, size, self.padding(letter, size, offset), self.is_little)
        return None

    def set(self, letter: str) -> None:
        """Take over what a letter changes for those behind it."""
        if letter == "<":
            self.is_little = True
        elif letter == ">":
            self.is_little = False
        elif letter == "=":
            self.is_little = sys.byteorder == "little"
        elif letter == "!":
            alignment = self.number(ALIGNMENT_DEFAULT)
            if alignment == 0 or alignment & (alignment - 1):
                raise self.arguments.fail(b"alignment is not a power of 2")
            self.alignment = alignment

    def padding(self, letter: str, size: int, offset: int) -> int:
        """Count the bytes before a value that its alignment wants."""
        if size == 0 or letter == "c":
            return 0
        size = min(size, self.alignment)
        return -offset % size


class StructFunctions:
    """The functions of the library."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments

    def pack(self, *words: Any) -> Any:
        """Pack values into a string."""
        arguments = self.arguments
        form = Format(arguments.text(words, 0, b"pack"), arguments, b"pack")
        out = b""
        at = 1
        words = (*words, None)  # as Redis's marks the end of the arguments
        while (option := form.next(len(out))) is not None:
            out += bytes(option.padding)
            if option.letter == "x":
                out += b"\0"
                continue
            out += self.packed(option, words, at)
            at += 1
        return out

    def packed(self, option: Option, words: tuple[Any, ...], at: int) -> bytes:
        """Pack one value."""
        arguments = self.arguments
        letter = option.letter
        if letter in "sc":
            text = arguments.text(words, at, b"pack")
            if letter == "s":
                return text + b"\0"
            size = option.size or len(text)
            if len(text) < size:
                raise arguments.fail(b"bad argument #%d to 'pack' (string too short)" % (at + 2))
            return text[:size]
        number = arguments.number(words, at, b"pack")
        if letter in "fd":
            return packed_float(number, option)
        whole = int(number) if math.isfinite(number) else -(2**63)
        order = "little" if option.is_little else "big"
        mask = (1 << 8 * min(option.size, 8)) - 1
        return (whole & mask).to_bytes(option.size, "little" if order == "little" else "big")

    def unpack(self, *words: Any) -> Any:
        """Unpack a string from the place in the third argument; return the values and the next place."""
        arguments = self.arguments
        form = Format(arguments.text(words, 0, b"unpack"), arguments, b"unpack")
        data = arguments.text(words, 1, b"unpack")
        offset = (
            int(arguments.number(words, 2, b"unpack")) - 1 if len(words) > 2 and words[2] is not None else 0
        )
        if offset < 0:
            raise arguments.fail(b"offset must be 1 or greater")
        values: list[Any] = []
        while (option := form.next(offset)) is not None:
            offset += option.padding
            size = self.size_of(option, values, data, offset)
            piece = data[offset : offset + size]
            offset += size
            if option.letter == "s":
                values.append(piece)
                offset += 1
            elif option.letter == "c":
                values.append(piece)
            elif option.letter != "x":
                values.append(unpacked_number(piece, option))
        values.append(offset + 1)
        return tuple(values)

    def size_of(self, option: Option, values: list[Any], data: bytes, offset: int) -> int:
        """Return how many bytes a value takes, after making sure that they are there."""
        size = option.size
        if option.letter == "s":
            end = data.find(b"\0", offset)
            if end < 0:
                raise self.arguments.fail(b"unfinished string in data")
            return end - offset
        if option.letter == "c" and size == 0:
            if not values or isinstance(values[-1], bytes):
                raise self.arguments.fail(b"format 'c0' needs a previous size")
            size = int(values.pop())
        if size < 0 or offset + size > len(data):
            raise self.arguments.fail(b"bad argument #2 to 'unpack' (data string too short)")
        return size

    def size(self, *words: Any) -> Any:
        """Return how many bytes a format takes."""
        form = Format(self.arguments.text(words, 0, b"size"), self.arguments, b"size")
        offset = 0
        while (option := form.next(offset)) is not None:
            if option.letter == "s":
                raise self.arguments.fail(b"bad argument #1 to 'size' (option 's' has no fixed size)")
            if option.letter == "c" and option.size == 0:
                raise self.arguments.fail(b"bad argument #1 to 'size' (option 'c0' has no fixed size)")
            offset += option.padding + option.size
        return offset


def packed_float(number: float, option: Option) -> bytes:
    """Pack a float or a double; a double beyond the range of a float becomes infinite."""
    order = "<" if option.is_little else ">"
    try:
        return struct.pack(order + option.letter, number)
    except OverflowError:
        return struct.pack(order + option.letter, math.copysign(math.inf, number))


def unpacked_number(piece: bytes, option: Option) -> float:
    """Unpack an integer or a floating point number."""
    letter = option.letter
    if letter in "fd":
        value: float = struct.unpack(("<" if option.is_little else ">") + letter, piece)[0]
        return value
    low = piece[:8] if option.is_little else piece[-8:]
    number = int.from_bytes(low, "little" if option.is_little else "big", signed=letter in "bhli")
    return float(number)
