"""Counters: INCR, DECR and their relatives, and INCRBYFLOAT.

A counter is stored as a plain integer from its first increment on. INCRBYFLOAT is propagated as the SET of
its result, since another build's floating point might round differently.

Source: the Redis command reference, group "string", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import NOT_A_FLOAT, NOT_AN_INTEGER, integer
from redoubt.commands.declare import ACCESS, DENYOOM, FAST, RW, STRING, UPDATE, WRITE, command
from redoubt.commands.reading import writable_text
from redoubt.data import long_double
from redoubt.data.text import INTEGER_MAX, INTEGER_MIN, text_bytes, text_integer
from redoubt.keyspace_events import EVENT_STRING
from redoubt.resp.replies import CommandError, ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

WOULD_OVERFLOW: Final = ErrorReply(b"ERR increment or decrement would overflow")


@command("INCR", "key", group=STRING, flags=WRITE | DENYOOM | FAST, use=RW | ACCESS | UPDATE, since="1.0.0",
         complexity="O(1)",
         summary="Add one to the integer value of a key; a missing one counts as 0.")  # fmt: skip
def incr(ctx: Session, argv: list[bytes]) -> Reply:
    return _increment(ctx, argv[1], 1)


@command("DECR", "key", group=STRING, flags=WRITE | DENYOOM | FAST, use=RW | ACCESS | UPDATE, since="1.0.0",
         complexity="O(1)",
         summary="Subtract one from the integer value of a key; a missing one counts as 0.")  # fmt: skip
def decr(ctx: Session, argv: list[bytes]) -> Reply:
    return _increment(ctx, argv[1], -1)


@command("INCRBY", "key increment", group=STRING, flags=WRITE | DENYOOM | FAST, use=RW | ACCESS | UPDATE,
         since="1.0.0", complexity="O(1)", summary="Add a number to the integer value of a key.")  # fmt: skip
def incrby(ctx: Session, argv: list[bytes]) -> Reply:
    return _increment(ctx, argv[1], integer(argv[2]))


@command("DECRBY", "key decrement", group=STRING, flags=WRITE | DENYOOM | FAST, use=RW | ACCESS | UPDATE,
         since="1.0.0", complexity="O(1)",
         summary="Subtract a number from the integer value of a key.")  # fmt: skip
def decrby(ctx: Session, argv: list[bytes]) -> Reply:
    decrement = integer(argv[2])
    if decrement == INTEGER_MIN:
        return ErrorReply(b"ERR decrement would overflow")
    return _increment(ctx, argv[1], -decrement)


def _increment(ctx: Session, key: bytes, increment: int) -> Reply:
    value = writable_text(ctx, key)
    number = 0 if value is None else text_integer(value)
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    total = number + increment
    if not INTEGER_MIN <= total <= INTEGER_MAX:
        return WOULD_OVERFLOW
    ctx.db.store(key, total)
    ctx.notify(EVENT_STRING, b"incrby", key)
    return total


@command("INCRBYFLOAT", "key increment:double", group=STRING, flags=WRITE | DENYOOM | FAST,
         use=RW | ACCESS | UPDATE, since="2.6.0", complexity="O(1)",
         summary="Add a number to the floating point value of a key; a missing one counts as 0.")  # fmt: skip
def incrbyfloat(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    value = writable_text(ctx, key)
    number = long_double.parse(b"0" if value is None else text_bytes(value))
    increment = long_double.parse(argv[2])
    if number is None or increment is None:
        raise CommandError(NOT_A_FLOAT)
    total = number.plus(increment)
    if total.is_infinite:
        raise CommandError(b"ERR increment would produce NaN or Infinity")
    text = total.text()
    ctx.db.store(key, text)
    ctx.notify(EVENT_STRING, b"incrbyfloat", key)
    ctx.rewrite([b"SET", key, text, b"KEEPTTL"])
    return text
