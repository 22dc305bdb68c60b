"""The library `bit` of scripts: operations on 32-bit integers, as LuaJIT's BitOp has them.

Lua 5.1 has only doubles, so the operations are Python's. Results are signed.
Source: https://bitop.luajit.org/api.html
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from redoubt.scripting.arguments import Arguments

_MASK: Final = 0xFFFFFFFF
_SIGN: Final = 1 << 31


def signed(bits: int) -> int:
    """Return the lowest 32 bits as a signed number."""
    bits &= _MASK
    return bits - (1 << 32) if bits & _SIGN else bits


class BitFunctions:
    """The functions of the library."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments

    def table(self) -> dict[bytes, Callable[..., Any]]:
        """Return the functions by name."""
        return {
            b"tobit": self.tobit, b"bnot": self.bnot, b"band": self.band, b"bor": self.bor,
            b"bxor": self.bxor, b"lshift": self.lshift, b"rshift": self.rshift, b"arshift": self.arshift,
            b"rol": self.rol, b"ror": self.ror, b"bswap": self.bswap, b"tohex": self.tohex,
        }  # fmt: skip

    def bits(self, words: tuple[Any, ...], at: int, name: bytes) -> int:
        """Return the 32 bits of an argument; fractions are rounded to even."""
        number = self.arguments.number(words, at, name)
        if isinstance(number, int):
            return number & _MASK
        return round(number) & _MASK if math.isfinite(number) else 0

    def tobit(self, *words: Any) -> Any:
        """Normalize a number to the range of results."""
        return signed(self.bits(words, 0, b"tobit"))

    def bnot(self, *words: Any) -> Any:
        """Invert every bit."""
        return signed(~self.bits(words, 0, b"bnot"))

    def band(self, *words: Any) -> Any:
        """Combine all arguments by and."""
        result = self.bits(words, 0, b"band")
        for at in range(1, len(words)):
            result &= self.bits(words, at, b"band")
        return signed(result)

    def bor(self, *words: Any) -> Any:
        """Combine all arguments by or."""
        result = self.bits(words, 0, b"bor")
        for at in range(1, len(words)):
            result |= self.bits(words, at, b"bor")
        return signed(result)

    def bxor(self, *words: Any) -> Any:
        """Combine all arguments by exclusive or."""
        result = self.bits(words, 0, b"bxor")
        for at in range(1, len(words)):
            result ^= self.bits(words, at, b"bxor")
        return signed(result)

    def lshift(self, *words: Any) -> Any:
        """Shift to the left."""
        return signed(self.bits(words, 0, b"lshift") << (self.bits(words, 1, b"lshift") & 31))

    def rshift(self, *words: Any) -> Any:
        """Shift to the right, zeros coming in."""
        return signed(self.bits(words, 0, b"rshift") >> (self.bits(words, 1, b"rshift") & 31))

    def arshift(self, *words: Any) -> Any:
        """Shift to the right, copies of the sign coming in."""
        return signed(self.bits(words, 0, b"arshift")) >> (self.bits(words, 1, b"arshift") & 31)

    def rol(self, *words: Any) -> Any:
        """Rotate to the left."""
        bits, by = self.bits(words, 0, b"rol"), self.bits(words, 1, b"rol") & 31
        return signed(bits << by | bits >> (32 - by))

    def ror(self, *words: Any) -> Any:
        """Rotate to the right."""
        bits, by = self.bits(words, 0, b"ror"), self.bits(words, 1, b"ror") & 31
        return signed(bits >> by | bits << (32 - by))

    def bswap(self, *words: Any) -> Any:
        """Reverse the order of the bytes."""
        bits = self.bits(words, 0, b"bswap")
        return signed(int.from_bytes(bits.to_bytes(4, "big"), "little"))

    def tohex(self, *words: Any) -> Any:
        """Write as hexadecimal digits: as many as the second argument says, upper case if it is negative."""
        bits = self.bits(words, 0, b"tohex")
        digits = 8 if len(words) < 2 else signed(self.bits(words, 1, b"tohex"))
        text = b"%08X" % bits if digits < 0 else b"%08x" % bits
        digits = min(abs(digits), 8)
        return text[8 - digits :]
