"""How command handlers read a key: the lookup, the count of hits and misses, and the check of the type.

Reads on behalf of a client go through `read` or `read_text`, which count in INFO stats; a write command that
looks at the old value first calls `ctx.db.lookup` or `writable_text`, which do not (Redis: lookupKeyRead and
lookupKeyWrite). Also how a command names another database.

Called by the handlers of all groups. It changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import NOT_AN_INTEGER, integer
from redoubt.data.structure import Structure
from redoubt.data.text import Text, Value
from redoubt.keyspace_events import EVENT_MISS
from redoubt.resp.replies import CommandError

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.session import Session

NO_SUCH_KEY: Final = b"ERR no such key"
WRONG_TYPE: Final = b"WRONGTYPE Operation against a key holding the wrong kind of value"
# Database numbers are C ints in Redis, and its error names the range.
INT_MIN: Final = -(1 << 31)
INT_MAX: Final = (1 << 31) - 1


def read(ctx: Session, key: bytes) -> Value | None:
    """Return the value of `key` for a reading command."""
    value = ctx.db.lookup(key, ctx.now_ms)
    if value is None:
        ctx.state.statistics.keyspace_misses += 1
        ctx.notify(EVENT_MISS, b"keymiss", key)
    else:
        ctx.state.statistics.keyspace_hits += 1
    return value


def read_untouched(ctx: Session, key: bytes) -> Value | None:
    """Return the value of `key` for a command that asks about the key only, which is no use of it."""
    value = ctx.db.peek(key, ctx.now_ms)
    if value is None:
        ctx.state.statistics.keyspace_misses += 1
        ctx.notify(EVENT_MISS, b"keymiss", key)
    else:
        ctx.state.statistics.keyspace_hits += 1
    return value


def read_text(ctx: Session, key: bytes) -> Text | None:
    """Return the string at `key` for a reading command; raises CommandError for other types."""
    value = ctx.db.lookup(key, ctx.now_ms)
    if isinstance(value, bytes):  # nearly always, and the cheapest to ask
        ctx.state.statistics.keyspace_hits += 1
        return value
    if value is None:
        ctx.state.statistics.keyspace_misses += 1
        ctx.notify(EVENT_MISS, b"keymiss", key)
        return None
    ctx.state.statistics.keyspace_hits += 1
    if isinstance(value, Structure):
        raise CommandError(WRONG_TYPE)
    return value


def writable_text(ctx: Session, key: bytes) -> Text | None:
    """Return the string at `key` for a command that will change it; raises CommandError for other types."""
    value = ctx.db.lookup(key, ctx.now_ms)
    if isinstance(value, Structure):
        raise CommandError(WRONG_TYPE)
    return value


def database_number(word: bytes, invalid: bytes = b"") -> int:
    """Parse the number of a database, which may not exist; raises CommandError (`invalid` if given)."""
    number = integer(word, invalid or NOT_AN_INTEGER)
    if not INT_MIN <= number <= INT_MAX:
        text = b"ERR value is out of range, value must between %d and %d" % (INT_MIN, INT_MAX)
        raise CommandError(invalid or text)
    return number


def database_of(ctx: Session, number: int) -> Keyspace:
    """Return the database of this number; raises CommandError if there is none."""
    if not 0 <= number < len(ctx.state.keyspaces):
        raise CommandError(b"ERR DB index is out of range")
    return ctx.state.keyspaces[number]
