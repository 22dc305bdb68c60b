"""math.random of scripts: the generator drand48 of the C library, the same on every machine.

Scripts that seed it get Redis's numbers. Not seeded, it goes on from script to script.
Source: the manual page drand48(3); the ranges are those of Lua 5.1's math.random.
"""

from __future__ import annotations

import math
from typing import Any, Final

from redoubt.scripting.arguments import Arguments

_MULTIPLIER: Final = 0x5DEECE66D
_INCREMENT: Final = 0xB
_MASK: Final = (1 << 48) - 1
_RANGE: Final = 0x7FFFFFFF


class Random48:
    """One generator."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.value = 0x1234ABCD330E

    def seed(self, *words: Any) -> Any:
        """Begin anew (math.randomseed)."""
        self.value = ((self.integer(words, 0, b"randomseed") & 0xFFFFFFFF) << 16) | 0x330E

    def random(self, *words: Any) -> Any:
        """Return a number below 1, up to the first, or between two arguments."""
        self.value = (self.value * _MULTIPLIER + _INCREMENT) & _MASK
        fraction = ((self.value >> 17) % _RANGE) / _RANGE
        if not words:
            return fraction
        if len(words) > 2:
            raise self.arguments.fail(b"wrong number of arguments")
        low = 1
        if len(words) == 2:
            low = self.integer(words, 0, b"random")
        high = self.integer(words, len(words) - 1, b"random")
        if low > high:
            raise self.arguments.fail(b"bad argument #%d to 'random' (interval is empty)" % len(words))
        return math.floor(fraction * (high - low + 1)) + low

    def integer(self, words: tuple[Any, ...], at: int, name: bytes) -> int:
        """Return an argument as a C int."""
        number = self.arguments.number(words, at, name)
        return int(number) if math.isfinite(number) else -(2**31)
