"""Arithmetic of INCRBYFLOAT: C's 80-bit `long double`, exactly, in integers.

Redis adds with a mantissa of 64 bits and prints at most 17 decimals without trailing zeros; Python's float
has 53 bits, and 0.1 + 0.2 would come out with another last digit. A number here is `mantissa * 2**exponent`
with a mantissa below 2**64; parsing and adding round to the nearest such number, ties to even, as the FPU
does; printing rounds the exact value to 17 decimals.

Called by INCRBYFLOAT and HINCRBYFLOAT. The smallest numbers (below 2**-16382) are treated as if they had full
precision; they print as 0 in 17 decimals either way.
Source: C11 `strtold` and `printf("%.17Lf")` on x86-64, the documentation of INCRBYFLOAT.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

MANTISSA_BITS: Final = 64
EXPONENT_MAX: Final = 16384  # numbers are below 2**16384
EXPONENT_MIN: Final = -16445  # the smallest number is 2**-16445
DECIMALS: Final = 17
_UNIT: Final = 10**DECIMALS

# Redis: MAX_LONG_DOUBLE_CHARS; longer words are no numbers.
WORD_LENGTH_MAX: Final = 5 * 1024 - 1
# Beyond these powers of ten a number is too large or too small for the type, whatever its digits.
_MAGNITUDE_MAX: Final = 4933
_MAGNITUDE_MIN: Final = -4970
# Python refuses to convert longer digit strings in one go.
_DIGITS_AT_ONCE: Final = 4000

_DECIMAL: Final = re.compile(rb"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?\Z")
_HEXADECIMAL: Final = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?\d+))?\Z")
_INFINITY: Final = re.compile(rb"[+-]?inf(?:inity)?\Z", re.IGNORECASE)


class LongDouble:
    """A finite number, or an infinity whose sign does not matter (every sum with it is refused)."""

    def __init__(self, mantissa: int, exponent: int, is_infinite: bool = False) -> None:
        self.mantissa = mantissa
        self.exponent = exponent
        self.is_infinite = is_infinite

    def plus(self, other: LongDouble) -> LongDouble:
        """Add, rounding once."""
        if self.is_infinite or other.is_infinite:
            return LongDouble(0, 0, True)
        low = min(self.exponent, other.exponent)
        total = (self.mantissa << (self.exponent - low)) + (other.mantissa << (other.exponent - low))
        return _rounded(total, 1, low)

    def times(self, factor: int) -> LongDouble:
        """Multiply, rounding once."""
        if self.is_infinite:
            return self
        return _rounded(self.mantissa * factor, 1, self.exponent)

    def ceiling(self) -> int:
        """Return the smallest whole number that is not below a finite one."""
        if self.exponent >= 0:
            return self.mantissa << self.exponent
        return -(-self.mantissa >> -self.exponent)

    def text(self) -> bytes:
        """Write with at most 17 decimals and no trailing zeros, never with an exponent."""
        scaled = abs(self.mantissa) * _UNIT
        if self.exponent >= 0:
            scaled <<= self.exponent
        else:
            scaled = _divide_to_even(scaled, 1 << -self.exponent)
        whole, fraction = divmod(scaled, _UNIT)
        text = format(Decimal(whole), "f")
        if fraction:
            text += "." + str(fraction).rjust(DECIMALS, "0").rstrip("0")
        return (b"-" if self.mantissa < 0 and scaled else b"") + text.encode()


def parse(word: bytes) -> LongDouble | None:
    """Read a number as `strtold` does; None if it is none, is NaN, or does not fit."""
    if not word or len(word) > WORD_LENGTH_MAX:
        return None
    match = _DECIMAL.match(word)
    if match is not None:
        return _parse_decimal(match)
    match = _HEXADECIMAL.match(word)
    if match is not None:
        return _parse_hexadecimal(match)
    return LongDouble(0, 0, True) if _INFINITY.match(word) else None


def _parse_decimal(match: re.Match[bytes]) -> LongDouble | None:
    sign, whole, fraction, power = match.groups()
    fraction = fraction or b""
    digits = (whole + fraction).lstrip(b"0")
    if not digits:
        return LongDouble(0, 0) if whole or fraction else None
    exponent = _bounded_integer(power) - len(fraction)
    if not _MAGNITUDE_MIN <= len(digits) + exponent <= _MAGNITUDE_MAX:
        return None
    number = _integer_of(digits)
    if sign == b"-":
        number = -number
    if exponent >= 0:
        return _finite(_rounded(number * 10**exponent, 1, 0))
    return _finite(_rounded(number, 10**-exponent, 0))


def _parse_hexadecimal(match: re.Match[bytes]) -> LongDouble | None:
    sign, whole, fraction, power = match.groups()
    fraction = fraction or b""
    if not whole and not fraction:
        return None
    number = int(whole + fraction, 16)
    if number == 0:
        return LongDouble(0, 0)
    exponent = _bounded_integer(power) - 4 * len(fraction)
    if not EXPONENT_MIN <= exponent + number.bit_length() <= EXPONENT_MAX + 1:
        return None
    return _finite(_rounded(-number if sign == b"-" else number, 1, exponent))


def _bounded_integer(power: bytes | None) -> int:
    """Return the exponent of a number; far beyond the type's range only the sign matters."""
    if power is None:
        return 0
    if len(power) > 9:
        return -(10**8) if power[:1] == b"-" else 10**8
    return int(power)


def _integer_of(digits: bytes) -> int:
    if len(digits) <= _DIGITS_AT_ONCE:
        return int(digits)
    tail = digits[_DIGITS_AT_ONCE:]
    power: int = 10 ** len(tail)
    return int(digits[:_DIGITS_AT_ONCE]) * power + int(tail)


def _finite(number: LongDouble) -> LongDouble | None:
    return None if number.is_infinite else number


def _rounded(numerator: int, denominator: int, exponent: int) -> LongDouble:
    """Round numerator / denominator * 2**exponent to the nearest number of the type."""
    if numerator == 0:
        return LongDouble(0, 0)
    magnitude = abs(numerator)
    # Scale so that the quotient has 64 or 65 bits; the second division then has the right 64.
    shift = MANTISSA_BITS - magnitude.bit_length() + denominator.bit_length()
    mantissa = _scaled_quotient(magnitude, denominator, shift)
    if mantissa.bit_length() > MANTISSA_BITS:
        shift -= 1
        mantissa = _scaled_quotient(magnitude, denominator, shift)
    if mantissa.bit_length() > MANTISSA_BITS:  # rounded up to the next power of two
        shift -= 1
        mantissa >>= 1
    exponent -= shift
    if mantissa.bit_length() + exponent > EXPONENT_MAX:
        return LongDouble(0, 0, True)
    return LongDouble(-mantissa if numerator < 0 else mantissa, exponent)


def _scaled_quotient(numerator: int, denominator: int, shift: int) -> int:
    if shift >= 0:
        return _divide_to_even(numerator << shift, denominator)
    return _divide_to_even(numerator, denominator << -shift)


def _divide_to_even(numerator: int, denominator: int) -> int:
    """Divide, rounding to the nearest integer, ties to even."""
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient & 1):
        quotient += 1
    return quotient
