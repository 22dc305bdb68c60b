"""A byte stream that arrives in pieces, and the primitives by which RDB items are read from it.

Every primitive either returns a value or raises Underrun when the bytes fed so far end within it. Whoever
reads calls `commit` after each whole step; after an Underrun `rewind` goes back to the last commit, and the
step is repeated when more has arrived. The source remembers how many bytes the interrupted step needs at
least, so that a 500 MB string is gathered as a list of pieces and parsed once.

Used by `RdbReader` and by the readers of the data types. It knows no opcodes and no types.
Source: the length and string encodings in Redis `src/rdb.c`.
"""

from __future__ import annotations

from typing import Final

import lzf

from redoubt.data.limits import Limits
from redoubt.persist.checksum import crc64
from redoubt.persist.rdb_format import (
    ENCODING_INT8,
    ENCODING_INT16,
    ENCODING_INT32,
    ENCODING_LZF,
    CorruptFile,
)

# A corrupt length must not make us wait for a terabyte. Redis: proto-max-bulk-len.
TEXT_BYTES_MAX: Final = 512 * 1024 * 1024
# LZF turns 3 bytes into at most 264; a larger claim is corrupt and must not be allocated.
LZF_RATIO_MAX: Final = 88


class Underrun(Exception):
    """The bytes fed so far end within an item."""


class RdbSource:
    """The unread part of the stream; see the module's docstring."""

    def __init__(self, path: str, text_bytes_max: int = TEXT_BYTES_MAX, limits: Limits | None = None) -> None:
        self.path = path
        # How large the packed form of a value may be here.
        self.limits = Limits() if limits is None else limits
        # Whether what lies packed is looked at entry by entry, and not only at its frame.
        self.checks_packs = self.limits.checks_files
        self.text_bytes_max = text_bytes_max
        # Of the file or payload: Redis's, or from 80 on Valkey's. A few types depend on whose it is.
        self.version = 0
        self._crc = 0
        self._summed = 0  # up to here `_buffer` is part of it
        self._buffer = b""
        self._at = 0
        self._committed = 0
        # The position in the whole stream of the first byte of `_buffer`.
        self._origin = 0
        # Pieces that arrived while the interrupted step still lacks bytes.
        self._pieces: list[bytes] = []
        self._pieces_size = 0
        # The length that `_buffer` needs for the interrupted step to go on.
        self._wanted = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        self._pieces.append(data)
        self._pieces_size += len(data)

    def gather(self) -> bool:
        """Join the pieces if that lets the reader go on; say whether it does."""
        if not self._pieces:
            return False
        if len(self._buffer) - self._committed + self._pieces_size < self._wanted:
            return False
        self._sum_up()
        self._origin += self._committed
        rest = self._buffer[self._committed :]
        if rest:
            self._pieces.insert(0, rest)
        self._buffer = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        self._pieces_size = 0
        self._at = self._committed = self._summed = 0
        self._wanted = 0
        return True

    def commit(self) -> None:
        """Hold what has been read for done: an Underrun will not repeat it."""
        self._committed = self._at

    def rewind(self) -> None:
        """Go back to the last commit after an Underrun."""
        self._at = self._committed

    def checksum(self) -> int:
        """Return the checksum of everything committed so far."""
        self._sum_up()
        return self._crc

    def offset(self) -> int:
        """Return the position in the whole stream."""
        return self._origin + self._at

    def rest(self) -> bytes:
        """Take away everything that has not been read."""
        rest = self._buffer[self._at :] + b"".join(self._pieces)
        self._origin += len(self._buffer) - len(rest)
        self._buffer = b""
        self._pieces = []
        self._pieces_size = 0
        self._at = self._committed = self._summed = 0
        return rest

    def corrupt(self, expected: str, found: str) -> CorruptFile:
        """Make the error for the present position."""
        return CorruptFile(self.path, self.offset(), expected, found)

    def byte(self) -> int:
        """Read one byte."""
        at = self._at
        if at >= len(self._buffer):
            self._lack(1)
        self._at = at + 1
        return self._buffer[at]

    def take(self, size: int) -> bytes:
        """Read `size` raw bytes."""
        past = self._at + size
        if past > len(self._buffer):
            self._lack(size)
        taken = self._buffer[self._at : past]
        self._at = past
        return taken

    def little(self, size: int, is_signed: bool = False) -> int:
        """Read a little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little", signed=is_signed)

    def length(self) -> int:
        """Read a length; the special encodings are not allowed here."""
        first = self.byte()
        if first < 0x40:
            return first
        if first >= 0xC0:
            raise self.corrupt("a length", f"the string encoding {first:#04x}")
        return self._long_length(first)

    def text(self) -> bytes:
        """Read a string in any encoding, as bytes."""
        first = self.byte()
        if first < 0x40:
            return self.take(first)
        if first < 0xC0:
            return self._sized(self._long_length(first))
        value = self._special(first)
        return value if isinstance(value, bytes) else b"%d" % value

    def text_or_int(self) -> bytes | int:
        """Read a string in any encoding; one that is stored as an integer is returned as int."""
        first = self.byte()
        if first < 0x40:
            return self.take(first)
        if first < 0xC0:
            return self._sized(self._long_length(first))
        return self._special(first)

    def _long_length(self, first: int) -> int:
        if first < 0x80:
            return (first & 0x3F) << 8 | self.byte()
        if first == 0x80:
            return int.from_bytes(self.take(4), "big")
        if first == 0x81:
            return int.from_bytes(self.take(8), "big")
        raise self.corrupt("a length", f"the byte {first:#04x}")

    def _sized(self, size: int) -> bytes:
        if size > self.text_bytes_max:
            raise self.corrupt(f"a string of at most {self.text_bytes_max} bytes", f"one of {size}")
        return self.take(size)

    def _special(self, first: int) -> bytes | int:
        encoding = first & 0x3F
        if encoding == ENCODING_INT8:
            return self.little(1, True)
        if encoding == ENCODING_INT16:
            return self.little(2, True)
        if encoding == ENCODING_INT32:
            return self.little(4, True)
        if encoding == ENCODING_LZF:
            return self._compressed()
        raise self.corrupt("a string", f"the unknown encoding {encoding}")

    def _compressed(self) -> bytes:
        packed_size = self.length()
        size = self.length()
        if size > self.text_bytes_max or size > packed_size * LZF_RATIO_MAX or packed_size == 0 or size == 0:
            raise self.corrupt("a compressed string", f"{packed_size} bytes that claim to hold {size}")
        packed = self.take(packed_size)
        try:
            text = lzf.decompress(packed, size)
        except ValueError:
            text = None
        if text is None or len(text) != size:
            raise self.corrupt(f"a compressed string of {size} bytes", "another size or broken data")
        return bytes(text)

    def _sum_up(self) -> None:
        if self._committed > self._summed:
            self._crc = crc64(self._buffer[self._summed : self._committed], self._crc)
            self._summed = self._committed

    def _lack(self, size: int) -> None:
        self._wanted = self._at - self._committed + size
        raise Underrun
