"""Reading the arguments of a command: numbers with Redis's error texts, and a cursor over options.

A handler with one or two fixed arguments calls `integer(argv[2])` or `number(...)`; one with options walks
with a cursor:

    arguments = Arguments(argv, 3)
    while arguments.has_more():
        if arguments.skip(b"EX"):
            seconds = arguments.integer()
        else:
            raise arguments.syntax_error()

Whatever is wrong raises CommandError, whose text becomes the reply. Called by every command module; it knows
no commands. Source: the error texts of Redis 7.2, which clients match on.
"""

from __future__ import annotations

from math import inf, isinf, isnan
from typing import Final

from redoubt.data.text import parse_integer
from redoubt.resp.replies import CommandError

SYNTAX_ERROR: Final = b"ERR syntax error"
NOT_AN_INTEGER: Final = b"ERR value is not an integer or out of range"
NOT_A_FLOAT: Final = b"ERR value is not a valid float"
OUT_OF_RANGE: Final = b"ERR value is out of range"
NO_KEYS: Final = b"ERR numkeys should be greater than 0"
NO_COUNT: Final = b"ERR count should be greater than 0"
# Longest text of a number that is looked at (Redis: MAX_LONG_DOUBLE_CHARS is 5 KiB; a double needs 24).
_NUMBER_LENGTH_MAX: Final = 256
# Of decimal and hexadecimal numbers, "inf" and "infinity"; a space behind a number is no part of it.
_NUMBER_BYTES: Final = b"0123456789+-.abcdefxpinty"
# Up to here every integer is a double.
_WHOLE_MAX: Final = 1 << 53
_ZERO_BYTES: Final = b"0+-.eExXpP"
_SPACE_BYTES: Final = b" \t\n\v\f\r"


def integer(word: bytes, error: bytes = NOT_AN_INTEGER) -> int:
    """Read a signed 64-bit integer in its only canonical form (no plus, no leading zero)."""
    value = parse_integer(word)
    if value is None:
        raise CommandError(error)
    return value


def integer_between(word: bytes, least: int, most: int, error: bytes = OUT_OF_RANGE) -> int:
    """Read an integer and refuse it outside least..most with `error`."""
    value = integer(word)
    if not least <= value <= most:
        raise CommandError(error)
    return value


def number(word: bytes, error: bytes = NOT_A_FLOAT) -> float:
    """Read a double; infinities are numbers, what is not one or too large for one is not."""
    whole = parse_integer(word)
    if whole is not None and -_WHOLE_MAX <= whole <= _WHOLE_MAX:
        return float(whole)
    if not word or word[:1].isspace():
        raise CommandError(error)
    value = loose_number(word, error)
    if isinf(value) and b"n" not in word.lower():
        raise CommandError(error)
    if value == 0.0 and word.strip(_ZERO_BYTES):
        raise CommandError(error)
    return value


def loose_number(word: bytes, error: bytes = NOT_A_FLOAT) -> float:
    """Read a double as C's strtod does: nothing is 0, too much is infinite; NaN is refused."""
    text = word.lstrip(_SPACE_BYTES).lower()
    if not text and len(word) == 0:
        return 0.0
    if not text or len(text) > _NUMBER_LENGTH_MAX or text.strip(_NUMBER_BYTES):
        raise CommandError(error)
    try:
        value = float.fromhex(text.decode()) if b"x" in text else float(text)
    except OverflowError:
        value = -inf if text[0] == 45 else inf
    except ValueError:
        raise CommandError(error) from None
    if isnan(value):
        raise CommandError(error)
    return value


class Arguments:
    """A cursor over the words of one call, from `at` on."""

    def __init__(self, argv: list[bytes], at: int = 1) -> None:
        self.argv = argv
        self.at = at
        self.count = len(argv)

    def has_more(self) -> bool:
        """Say whether words are left."""
        return self.at < self.count

    def left(self) -> int:
        """Count the words that are left."""
        return self.count - self.at

    def word(self) -> bytes:
        """Take the next word as it is."""
        if self.at >= self.count:
            raise CommandError(SYNTAX_ERROR)
        word = self.argv[self.at]
        self.at += 1
        return word

    def keyword(self) -> bytes:
        """Take the next word in capitals."""
        return self.word().upper()

    def peek(self) -> bytes:
        """Return the next word in capitals without taking it; empty at the end."""
        return self.argv[self.at].upper() if self.at < self.count else b""

    def skip(self, keyword: bytes) -> bool:
        """Take the next word if it is this keyword (in capitals), whatever its case."""
        if self.at < self.count and self.argv[self.at].upper() == keyword:
            self.at += 1
            return True
        return False

    def skip_with_value(self, keyword: bytes) -> bool:
        """Take the next word if it is this keyword and another word follows, as Redis reads most options."""
        return self.at + 1 < self.count and self.skip(keyword)

    def integer(self, error: bytes = NOT_AN_INTEGER) -> int:
        """Take a signed 64-bit integer."""
        return integer(self.word(), error)

    def integer_between(self, least: int, most: int, error: bytes = OUT_OF_RANGE) -> int:
        """Take an integer within bounds."""
        return integer_between(self.word(), least, most, error)

    def number(self, error: bytes = NOT_A_FLOAT) -> float:
        """Take a floating point number."""
        return number(self.word(), error)

    def rest(self) -> list[bytes]:
        """Take all words that are left."""
        words = self.argv[self.at :]
        self.at = self.count
        return words

    def end(self) -> None:
        """Refuse words that are left."""
        if self.at < self.count:
            raise CommandError(SYNTAX_ERROR)

    def syntax_error(self) -> CommandError:
        """Make the error for a word that fits nowhere."""
        return CommandError(SYNTAX_ERROR)

    def one_of_two(self, first: bytes, second: bytes) -> bool:
        """Take one of two keywords (in capitals); True for the first."""
        word = self.keyword()
        if word not in (first, second):
            raise self.syntax_error()
        return word == first

    def keys_end_and_count(self, first: bytes, second: bytes) -> tuple[list[bytes], bool, int]:
        """Take `numkeys key ... <first | second> [COUNT count]`, as LMPOP and ZMPOP have it."""
        numkeys = self.integer(NO_KEYS)
        if numkeys < 1:
            raise CommandError(NO_KEYS)
        if numkeys >= self.left():
            raise self.syntax_error()
        keys = [self.word() for _ in range(numkeys)]
        is_first = self.one_of_two(first, second)
        count = -1
        while self.has_more():
            if count >= 0 or not self.skip_with_value(b"COUNT"):
                raise self.syntax_error()
            count = self.integer(NO_COUNT)
            if count < 1:
                raise CommandError(NO_COUNT)
        return keys, is_first, max(count, 1)
