"""The arithmetic of INCRBYFLOAT: x87 long doubles, digit for digit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redoubt.data.long_double import LongDouble, parse


def total(first: bytes, second: bytes) -> bytes:
    left, right = parse(first), parse(second)
    assert left is not None
    assert right is not None
    return left.plus(right).text()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (b"10.50", b"0.1", b"10.6"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"0.1", b"0.2", b"0.3"),
        (b"3", b"1.23456789012345678", b"4.23456789012345678"),
        (b"0", b"-0.0", b"0"),
        (b"0", b"-1e-30", b"0"),
        (b"1", b"-1", b"0"),
        (b"18446744073709551615", b"2", b"18446744073709551616"),  # 65 bits: a tie goes to even
        (b"0x1p-3", b"0", b"0.125"),
        (b"0X.8", b"0", b"0.5"),
        (b"+.5", b"5.", b"5.5"),
        (b"1e-4950", b"0", b"0"),
    ],
)
def test_sum(first: bytes, second: bytes, expected: bytes) -> None:
    assert total(first, second) == expected


@pytest.mark.parametrize(
    "word",
    [b"", b".", b"e5", b"1e", b"1_0", b" 1", b"1 ", b"nan", b"1e5000", b"1e-5000", b"0x", b"0x1p20000",
     b"1.2.3", b"9" * 5120, b"1e99999999999999999999"],
)  # fmt: skip
def test_what_is_no_number_is_refused(word: bytes) -> None:
    assert parse(word) is None


@pytest.mark.parametrize("word", [b"inf", b"-INF", b"+infinity"])
def test_infinity_is_a_number_and_makes_every_sum_infinite(word: bytes) -> None:
    number = parse(word)
    assert number is not None
    assert number.plus(LongDouble(1, 0)).is_infinite


def test_a_sum_beyond_the_range_is_infinite() -> None:
    largest = parse(b"1e4932")
    assert largest is not None
    assert largest.plus(largest).is_infinite is True


def test_thousands_of_digits_are_written_without_an_exponent() -> None:
    text = total(b"1e4900", b"1")
    assert len(text) == 4901
    assert text.isdigit()


@example(Decimal(2**65 - 1))  # rounds up to one bit more
@given(st.decimals(min_value=-(10**30), max_value=10**30, allow_nan=False, allow_infinity=False))
def test_parsing_is_off_by_at_most_half_a_unit_in_the_last_of_64_bits(number: object) -> None:
    exact = Fraction(str(number))
    parsed = parse(str(number).encode())
    assert parsed is not None
    value = parsed.mantissa * Fraction(2) ** parsed.exponent
    assert abs(value - exact) <= abs(exact) / 2**64
    assert parsed.mantissa.bit_length() <= 64
