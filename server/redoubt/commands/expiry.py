"""Times to live: EXPIRE, TTL, PERSIST and their relatives.

Whatever unit and origin the client uses, the keyspace and the replicas get an absolute time in milliseconds
(PEXPIREAT), and a time that has passed already is a deletion (DEL). A replica that gets such a command from
its master deletes nothing by itself: the master decides.

Source: the Redis command reference, group "generic", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import integer
from redoubt.commands.declare import ACCESS, FAST, GENERIC, READONLY, RO, RW, UPDATE, WRITE, command
from redoubt.commands.reading import read_untouched
from redoubt.data.text import INTEGER_MAX, INTEGER_MIN
from redoubt.keyspace_events import EVENT_GENERIC
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

# TTL and its relatives answer these instead of a time.
_NO_KEY: Final = -2
_NO_EXPIRY: Final = -1


@command("EXPIRE", "key seconds [NX | XX | GT | LT]", group=GENERIC, flags=WRITE | FAST, use=RW | UPDATE,
         since="1.0.0", complexity="O(1)", summary="Let a key expire after a number of seconds.")  # fmt: skip
def expire(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, b"expire", 1000, ctx.now_ms)


@command("PEXPIRE", "key milliseconds [NX | XX | GT | LT]", group=GENERIC, flags=WRITE | FAST,
         use=RW | UPDATE, since="2.6.0", complexity="O(1)",
         summary="Let a key expire after a number of milliseconds.")  # fmt: skip
def pexpire(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, b"pexpire", 1, ctx.now_ms)


@command("EXPIREAT", "key unix-time-seconds [NX | XX | GT | LT]", group=GENERIC, flags=WRITE | FAST,
         use=RW | UPDATE, since="1.2.0", complexity="O(1)",
         summary="Let a key expire at a Unix time in seconds.")  # fmt: skip
def expireat(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, b"expireat", 1000, 0)


@command("PEXPIREAT", "key unix-time-milliseconds [NX | XX | GT | LT]", group=GENERIC, flags=WRITE | FAST,
         use=RW | UPDATE, since="2.6.0", complexity="O(1)",
         summary="Let a key expire at a Unix time in milliseconds.")  # fmt: skip
def pexpireat(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, b"pexpireat", 1, 0)


def _expire(ctx: Session, argv: list[bytes], name: bytes, unit_ms: int, origin_ms: int) -> Reply:
    """Set the expiry of a key to origin_ms + argv[2] * unit_ms if the conditions in argv[3:] hold."""
    conditions = _parse_conditions(argv)
    due_ms = integer(argv[2]) * unit_ms
    # Negative times are allowed; only what does not fit into 64 bits is refused.
    if not INTEGER_MIN <= due_ms <= INTEGER_MAX - origin_ms:
        raise CommandError(b"ERR invalid expire time in '%s' command" % name)
    due_ms += origin_ms
    key = argv[1]
    if ctx.db.lookup(key, ctx.now_ms) is None:
        return 0
    if conditions and not _conditions_hold(conditions, ctx.db.expire_at(key), due_ms):
        return 0
    if due_ms <= ctx.now_ms and not ctx.is_master_link:
        ctx.db.delete(key)
        ctx.notify(EVENT_GENERIC, b"del", key)
        ctx.rewrite([b"DEL", key])
        return 1
    # 0 and below would read as "no expiry"; they come only from a master, and have passed long ago.
    ctx.db.set_expire(key, max(due_ms, 1))
    ctx.notify(EVENT_GENERIC, b"expire", key)
    ctx.rewrite([b"PEXPIREAT", key, b"%d" % due_ms])
    return 1


def _parse_conditions(argv: list[bytes]) -> list[bytes]:
    """Return the conditions of an EXPIRE in upper case; raises CommandError for those that exclude others."""
    conditions: list[bytes] = []
    for word in argv[3:]:
        condition = word.upper()
        if condition not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError(b"ERR Unsupported option %s" % word)
        conditions.append(condition)
    if b"NX" in conditions and len(set(conditions)) > 1:
        raise CommandError(b"ERR NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in conditions and b"LT" in conditions:
        raise CommandError(b"ERR GT and LT options at the same time are not compatible")
    return conditions


def _conditions_hold(conditions: list[bytes], current_ms: int, due_ms: int) -> bool:
    """Compare with the present expiry; a key without one (0) counts as living for ever."""
    for condition in conditions:
        if condition == b"NX":
            holds = current_ms == 0
        elif condition == b"XX":
            holds = current_ms != 0
        elif condition == b"GT":
            holds = current_ms != 0 and due_ms > current_ms
        else:
            holds = current_ms == 0 or due_ms < current_ms
        if not holds:
            return False
    return True


@command("PERSIST", "key", group=GENERIC, flags=WRITE | FAST, use=RW | UPDATE, since="2.2.0",
         complexity="O(1)", summary="Let a key live until it is deleted.")  # fmt: skip
def persist(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.db.lookup(argv[1], ctx.now_ms) is None:
        return 0
    if not ctx.db.persist(argv[1]):
        return 0
    ctx.notify(EVENT_GENERIC, b"persist", argv[1])
    return 1


@command("TTL", "key", group=GENERIC, flags=READONLY | FAST, use=RO | ACCESS, since="1.0.0",
         complexity="O(1)", summary="Return how many seconds a key has left.",
         tips=("nondeterministic_output",))  # fmt: skip
def ttl(ctx: Session, argv: list[bytes]) -> Reply:
    return _in_seconds(_time_left(ctx, argv[1]))


@command("PTTL", "key", group=GENERIC, flags=READONLY | FAST, use=RO | ACCESS, since="2.6.0",
         complexity="O(1)", summary="Return how many milliseconds a key has left.",
         tips=("nondeterministic_output",))  # fmt: skip
def pttl(ctx: Session, argv: list[bytes]) -> Reply:
    return _time_left(ctx, argv[1])


@command("EXPIRETIME", "key", group=GENERIC, flags=READONLY | FAST, use=RO | ACCESS, since="7.0.0",
         complexity="O(1)", summary="Return the Unix time in seconds at which a key expires.")  # fmt: skip
def expiretime(ctx: Session, argv: list[bytes]) -> Reply:
    return _in_seconds(_due_time(ctx, argv[1]))


@command("PEXPIRETIME", "key", group=GENERIC, flags=READONLY | FAST, use=RO | ACCESS, since="7.0.0",
         complexity="O(1)",
         summary="Return the Unix time in milliseconds at which a key expires.")  # fmt: skip
def pexpiretime(ctx: Session, argv: list[bytes]) -> Reply:
    return _due_time(ctx, argv[1])


def _due_time(ctx: Session, key: bytes) -> int:
    """Return the absolute expiry time of a key in milliseconds, or one of the two negative answers."""
    if read_untouched(ctx, key) is None:
        return _NO_KEY
    return ctx.db.expire_at(key) or _NO_EXPIRY


def _time_left(ctx: Session, key: bytes) -> int:
    due_ms = _due_time(ctx, key)
    return due_ms if due_ms < 0 else max(0, due_ms - ctx.now_ms)


def _in_seconds(time_ms: int) -> int:
    """Round to seconds as Redis does; the negative answers stay."""
    return time_ms if time_ms < 0 else (time_ms + 500) // 1000
