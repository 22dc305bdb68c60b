"""Commands that change hashes: HSET, HDEL, HINCRBY and their relatives.

Those that only look are in `hash_reading`. What is propagated is the command as it came, except for
HINCRBYFLOAT, which leaves as the HSET of what it computed. Setting a field drops its time to live, counting
does not. A hash without fields does not exist: whoever removes the last field removes the key.

Source: the Redis command reference, group "hash", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import NOT_A_FLOAT, integer
from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    DENYOOM,
    FAST,
    HASH,
    INSERT,
    RW,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.reading import WRONG_TYPE
from redoubt.data import long_double
from redoubt.data.field_deadlines import note_fields
from redoubt.data.hash import Hash
from redoubt.data.text import INTEGER_MAX, INTEGER_MIN, parse_integer
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_HASH
from redoubt.resp.replies import OK, CommandError, ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

WOULD_OVERFLOW: Final = ErrorReply(b"ERR increment or decrement would overflow")


def writable_hash(ctx: Session, key: bytes, words: list[bytes], step: int = 1) -> Hash | None:
    """Return the hash at `key` for a command that will change it; raises CommandError for other types.

    words: the fields that it will change, one in every `step`; those whose time has passed are gone then.
    """
    value = ctx.db.lookup(key, ctx.now_ms)
    if value is None:
        return None
    if isinstance(value, Hash):
        if value.deadlines is not None:
            named = words[::step]
            if ctx.state.upkeep.reap_fields(ctx.db, key, value, ctx.now_ms, named):
                return None
        return value
    raise CommandError(WRONG_TYPE)


def put_fields(
    ctx: Session, key: bytes, pairs: list[bytes], event: bytes = b"hset", keeps_times: bool = False
) -> int:
    """Set fields (field and value in turn), making the hash if there is none; count the new ones."""
    found = writable_hash(ctx, key, pairs, 2)
    limits = ctx.state.limits
    size_before = 0 if found is None else ctx.db.begin_change(key)
    target = Hash() if found is None else found
    if target.table is None:
        for word in pairs:
            if len(word) > limits.hash_bytes:
                target.unpack()
                break
    added = 0
    for place in range(0, len(pairs), 2):
        if target.put(pairs[place], pairs[place + 1], limits.hash_fields):
            added += 1
        elif target.deadlines is not None and not keeps_times:
            target.persist(pairs[place])
    if found is None:
        ctx.db.set(key, target)
    else:
        ctx.db.end_change(target, size_before)
        if target.deadlines is not None:
            note_fields(ctx.db, key, target)
    ctx.notify(EVENT_HASH, event, key)
    return added


@command("HSET", "key (field value)...", group=HASH, flags=WRITE | DENYOOM | FAST, use=RW | UPDATE,
         since="2.0.0", complexity="O(N) for N fields",
         summary="Set fields of a hash, making it if there is none.")  # fmt: skip
def hset(ctx: Session, argv: list[bytes]) -> Reply:
    _require_pairs(argv, b"hset")
    return put_fields(ctx, argv[1], argv[2:])


@command("HMSET", "key (field value)...", group=HASH, flags=WRITE | DENYOOM | FAST, use=RW | UPDATE,
         since="2.0.0", complexity="O(N) for N fields",
         summary="Set fields of a hash (now HSET).")  # fmt: skip
def hmset(ctx: Session, argv: list[bytes]) -> Reply:
    _require_pairs(argv, b"hmset")
    put_fields(ctx, argv[1], argv[2:])
    return OK


def _require_pairs(argv: list[bytes], name: bytes) -> None:
    if len(argv) % 2:
        raise CommandError(b"ERR wrong number of arguments for '%s' command" % name)


@command("HSETNX", "key field value", group=HASH, flags=WRITE | DENYOOM | FAST, use=RW | INSERT,
         since="2.0.0", complexity="O(1)",
         summary="Set a field of a hash if it is not there yet.")  # fmt: skip
def hsetnx(ctx: Session, argv: list[bytes]) -> Reply:
    found = writable_hash(ctx, argv[1], [argv[2]])
    if found is not None and found.get(argv[2]) is not None:
        return 0
    return put_fields(ctx, argv[1], argv[2:])


@command("HDEL", "key field [field ...]", group=HASH, flags=WRITE | FAST, use=RW | DELETE, since="2.0.0",
         complexity="O(N) for N fields", summary="Remove fields of a hash.")  # fmt: skip
def hdel(ctx: Session, argv: list[bytes]) -> Reply:
    found = writable_hash(ctx, argv[1], argv[2:])
    return 0 if found is None else remove_fields(ctx, argv[1], found, argv[2:])


def remove_fields(ctx: Session, key: bytes, found: Hash, fields: list[bytes]) -> int:
    """Remove fields that are there, and the hash with its last one; count them."""
    if not any(found.get(field) is not None for field in fields):
        return 0
    size_before = ctx.db.begin_change(key)
    removed = 0
    for field in fields:
        if found.count() and found.remove(field):
            removed += 1
    ctx.db.end_change(found, size_before)
    if found.deadlines is not None:
        note_fields(ctx.db, key, found)
    ctx.notify(EVENT_HASH, b"hdel", key)
    if found.count() == 0:
        ctx.db.delete(key)
        ctx.notify(EVENT_GENERIC, b"del", key)
    return removed


@command("HINCRBY", "key field increment", group=HASH, flags=WRITE | DENYOOM | FAST, use=RW | ACCESS | UPDATE,
         since="2.0.0", complexity="O(1)",
         summary="Add a number to the integer value of a field; a missing one counts as 0.")  # fmt: skip
def hincrby(ctx: Session, argv: list[bytes]) -> Reply:
    increment = integer(argv[3])
    found = writable_hash(ctx, argv[1], [argv[2]])
    text = None if found is None else found.get(argv[2])
    number = 0 if text is None else parse_integer(text)
    if number is None:
        return ErrorReply(b"ERR hash value is not an integer")
    total = number + increment
    if not INTEGER_MIN <= total <= INTEGER_MAX:
        return WOULD_OVERFLOW
    put_fields(ctx, argv[1], [argv[2], b"%d" % total], b"hincrby", True)
    return total


@command("HINCRBYFLOAT", "key field increment:double", group=HASH, flags=WRITE | DENYOOM | FAST,
         use=RW | ACCESS | UPDATE, since="2.6.0", complexity="O(1)",
         summary="Add a number to the floating point value of a field; a missing one is 0.")  # fmt: skip
def hincrbyfloat(ctx: Session, argv: list[bytes]) -> Reply:
    increment = long_double.parse(argv[3])
    if increment is None:
        raise CommandError(NOT_A_FLOAT)
    if increment.is_infinite:
        return ErrorReply(b"ERR value is NaN or Infinity")
    found = writable_hash(ctx, argv[1], [argv[2]])
    text = None if found is None else found.get(argv[2])
    number = long_double.parse(b"0" if text is None else text)
    if number is None:
        return ErrorReply(b"ERR hash value is not a float")
    total = number.plus(increment)
    if total.is_infinite:
        return ErrorReply(b"ERR increment would produce NaN or Infinity")
    result = total.text()
    put_fields(ctx, argv[1], [argv[2], result], b"hincrbyfloat", True)
    if found is not None and found.due_ms(argv[2]):
        ctx.rewrite([b"HSETEX", argv[1], b"KEEPTTL", b"FIELDS", b"1", argv[2], result])
    else:
        ctx.rewrite([b"HSET", argv[1], argv[2], result])
    return result
