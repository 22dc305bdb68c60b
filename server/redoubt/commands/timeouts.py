"""The timeout of a blocking command: seconds with fractions, as an absolute time in milliseconds.

Fractions of a millisecond are rounded up, so that a short wait never becomes an endless one; 0 is endless.
Used by the blocking pops of lists and sorted sets. Source: their pages in the Redis documentation; the texts
are those of Redis 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.data import long_double
from redoubt.resp.replies import CommandError

if TYPE_CHECKING:
    from redoubt.session import Session

NOT_A_FLOAT: Final = b"ERR timeout is not a float or out of range"
OUT_OF_RANGE: Final = b"ERR timeout is out of range"
NEGATIVE: Final = b"ERR timeout is negative"
MS_MAX: Final = (1 << 63) - 1


def deadline_of(ctx: Session, word: bytes) -> int:
    """Parse a timeout in seconds; return when it ends, 0 for never. Raises CommandError."""
    seconds = long_double.parse(word)
    if seconds is None:
        raise CommandError(NOT_A_FLOAT)
    milliseconds = seconds.times(1000)
    if milliseconds.is_infinite:
        raise CommandError(NEGATIVE if word.startswith(b"-") else OUT_OF_RANGE)
    timeout_ms = milliseconds.ceiling()
    if timeout_ms < 0:
        raise CommandError(NEGATIVE)
    now_ms = ctx.state.now_ms
    if timeout_ms > MS_MAX - now_ms:
        raise CommandError(OUT_OF_RANGE)
    return now_ms + timeout_ms if timeout_ms else 0
