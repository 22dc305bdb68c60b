"""Splits one line into words by the quoting rules of Redis, for inline commands and configuration lines.

Double quotes know the escapes \\n \\r \\t \\b \\a \\xHH and take any other escaped character as itself;
single quotes know only \\'. A closing quote must be followed by a space or the end. The request parser and
the configuration reader call it; it is not on the path of ordinary commands.

Rules: the sections on inline commands and on the configuration file in the Redis documentation.
"""

from __future__ import annotations

from typing import Final

SPACES: Final = b" \t\n\r\v\f\0"
HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
ESCAPES: Final[dict[int, int]] = {
    ord("n"): 0x0A,
    ord("r"): 0x0D,
    ord("t"): 0x09,
    ord("b"): 0x08,
    ord("a"): 0x07,
}
DOUBLE_QUOTE: Final = 0x22
SINGLE_QUOTE: Final = 0x27
BACKSLASH: Final = 0x5C
LETTER_X: Final = 0x78


def split_words(line: bytes) -> list[bytes] | None:
    """Return the words of a line, None if its quotes are unbalanced."""
    words: list[bytes] = []
    position = 0
    end = len(line)
    while True:
        while position < end and line[position] in SPACES:
            position += 1
        if position >= end:
            return words
        word = bytearray()
        position = read_word(line, position, word)
        if position < 0:
            return None
        words.append(bytes(word))


def read_word(line: bytes, position: int, word: bytearray) -> int:
    """Append one word to `word` and return where it ended, -1 if its quotes are unbalanced."""
    end = len(line)
    while position < end:
        byte = line[position]
        if byte in SPACES:
            return position
        if byte in (DOUBLE_QUOTE, SINGLE_QUOTE):
            position = read_quoted(line, position + 1, byte, word)
            if position < 0 or (position < end and line[position] not in SPACES):
                return -1
            return position
        word.append(byte)
        position += 1
    return position


def read_quoted(line: bytes, position: int, quote: int, word: bytearray) -> int:
    """Append what stands up to the closing quote; return where it goes on, -1 if nothing closes it."""
    end = len(line)
    while position < end:
        byte = line[position]
        if byte == quote:
            return position + 1
        if byte == BACKSLASH and position + 1 < end:
            following = line[position + 1]
            if quote == DOUBLE_QUOTE:
                digits = line[position + 2 : position + 4]
                if (
                    following == LETTER_X
                    and len(digits) == 2
                    and all(digit in HEX_DIGITS for digit in digits)
                ):
                    word.append(int(digits, 16))
                    position += 4
                    continue
                word.append(ESCAPES.get(following, following))
                position += 2
                continue
            if following == SINGLE_QUOTE:
                word.append(SINGLE_QUOTE)
                position += 2
                continue
        word.append(byte)
        position += 1
    return -1
