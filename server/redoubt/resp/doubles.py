"""Doubles as text: the shortest that reads back equal, spelled as Redis 7.2 does.

    3   0.1   1.5e-7   1e+20   123456789012345680000   inf   -inf   -0

Redis prints integers up to 2^52 without an exponent, and everything else by the rules of its fpconv: plain
digits while they stay short, an exponent without padding otherwise. Python finds the same digits (`repr`)
and puts them down differently.

Called by the encoder of replies and by sorted sets.
Source: Redis `src/util.c` (d2string), `deps/fpconv`.
"""

from __future__ import annotations

from math import isinf, isnan
from typing import Final

INTEGER_MAX: Final = 1 << 52


def double_text(value: float) -> bytes:
    """Write a double."""
    if isnan(value):
        return b"nan"
    if isinf(value):
        return b"inf" if value > 0 else b"-inf"
    if -INTEGER_MAX <= value <= INTEGER_MAX and value == int(value):
        number = int(value)
        # A negative zero keeps its sign.
        return b"%d" % number if number or repr(value)[0] != "-" else b"-0"
    text = repr(value)
    sign = ""
    if text[0] == "-":
        sign, text = "-", text[1:]
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    # The value is digits * 10 ** power.
    power = (int(exponent) if exponent else 0) - len(fraction)
    stripped = digits.rstrip("0")
    power += len(digits) - len(stripped)
    return (sign + _spell(stripped, power)).encode()


def _spell(digits: str, power: int) -> str:
    count = len(digits)
    exponent = power + count - 1
    if power >= 0 and abs(exponent) < count + 7:
        return digits + "0" * power
    if power < 0 and (power > -7 or abs(exponent) < 4):
        point = count + power
        if point <= 0:
            return "0." + "0" * -point + digits
        return digits[:point] + "." + digits[point:]
    fraction = "." + digits[1:] if count > 1 else ""
    return f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent)}"
