"""The ids of stream entries: milliseconds and a sequence, as one number of 128 bits.

One Python integer instead of a pair: ids then compare, sort and serve as keys by themselves, and the id after
another is that plus one. What clients write is `<ms>-<sequence>`; in files an id is 16 bytes, big-endian.

Called by the stream and its commands. It knows no streams and raises no errors: what is no id is None.
Source: Redis `streamGenericParseIDOrReply`, and `string2ull` for which texts are numbers.
"""

from __future__ import annotations

from typing import Final

SEQUENCE_BITS: Final = 64
SEQUENCE_MAX: Final = (1 << SEQUENCE_BITS) - 1
ID_MAX: Final = (1 << 2 * SEQUENCE_BITS) - 1
ID_BYTES: Final = 16
# Redis copies the text of an id into 128 bytes, with the zero at its end.
_TEXT_LENGTH_MAX: Final = 127


def make_id(milliseconds: int, sequence: int) -> int:
    """Put an id together; parts beyond 64 bits wrap around."""
    return (milliseconds & SEQUENCE_MAX) << SEQUENCE_BITS | sequence & SEQUENCE_MAX


def milliseconds_of(entry_id: int) -> int:
    """Return the first part of an id."""
    return entry_id >> SEQUENCE_BITS


def sequence_of(entry_id: int) -> int:
    """Return the second part of an id."""
    return entry_id & SEQUENCE_MAX


def text_of(entry_id: int) -> bytes:
    """Write an id as clients read it."""
    return b"%d-%d" % (entry_id >> SEQUENCE_BITS, entry_id & SEQUENCE_MAX)


def parse_id(text: bytes, missing_sequence: int) -> int | None:
    """Read `<ms>-<sequence>` or `<ms>`, to which `missing_sequence` is added; None if it is no id."""
    if len(text) > _TEXT_LENGTH_MAX:
        return None
    first, dash, second = text.partition(b"-")
    milliseconds = _parse_unsigned(first)
    sequence = _parse_unsigned(second) if dash else missing_sequence
    if milliseconds is None or sequence is None:
        return None
    return milliseconds << SEQUENCE_BITS | sequence


def parse_milliseconds(text: bytes) -> int | None:
    """Read the first part of `<ms>-*`; None if the text has another form."""
    if len(text) > _TEXT_LENGTH_MAX or not text.endswith(b"-*"):
        return None
    return _parse_unsigned(text[:-2])


def _parse_unsigned(text: bytes) -> int | None:
    """Read a number of 64 bits as C's strtoull does: spaces, a sign and zeros may stand before it."""
    if text.isdigit():  # nearly always
        number = int(text)
        return number if number <= SEQUENCE_MAX else None
    digits = text.lstrip(b" \t\n\v\f\r")
    is_negative = digits[:1] == b"-"
    if digits[:1] in (b"-", b"+"):
        digits = digits[1:]
    if not digits.isdigit():
        return None
    number = int(digits)
    if number > SEQUENCE_MAX:
        return None
    # A negative number in its plain form is refused; Redis lets any other spelling of one wrap around.
    if is_negative and number and text[1:] == b"%d" % number and number <= 1 << 63:
        return None
    return -number & SEQUENCE_MAX if is_negative else number
