"""DUMP and RESTORE: a value as bytes, and the value made of them under a key, here or on another server.

The payload itself is made and read by `redoubt.persist.payload`; here are the arguments, the checks in
Redis's order, and what is propagated: the absolute expiry time, and a payload that every server of this
format reads. RESTORE-ASKING is what MIGRATE sends to a node that imports the slot.

Source: the Redis command reference, DUMP and RESTORE; Redis's `restoreCommand` for the order of the checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer
from redoubt.commands.declare import (
    ACCESS,
    ASKING,
    DENYOOM,
    GENERIC,
    OW,
    READONLY,
    RO,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.reading import read
from redoubt.data.field_deadlines import note_fields
from redoubt.data.frequency import COUNTER_MAX
from redoubt.data.text import INTEGER_MAX, Value
from redoubt.data.use import take_over_use
from redoubt.keyspace_events import EVENT_GENERIC
from redoubt.persist.payload import BadPayload, UntrustedPayload, dump, restore, version_of
from redoubt.persist.rdb_format import VERSION_WRITTEN
from redoubt.resp.replies import OK, CommandError, ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

BUSY_KEY: Final = b"BUSYKEY Target key name already exists."
INVALID_TTL: Final = b"ERR Invalid TTL value, must be >= 0"
UNTRUSTED: Final = b"ERR DUMP payload version or checksum are wrong"
BAD_FORMAT: Final = b"ERR Bad data format"
INVALID_IDLE: Final = b"ERR Invalid IDLETIME value, must be >= 0"
INVALID_FREQUENCY: Final = b"ERR Invalid FREQ value, must be >= 0 and <= 255"


@command("DUMP", "key", group=GENERIC, flags=READONLY, use=RO | ACCESS, since="2.6.0",
         complexity="O(N) for N bytes", summary="Return the value of a key as a payload for RESTORE.",
         tips=("nondeterministic_output",))  # fmt: skip
def dump_(ctx: Session, argv: list[bytes]) -> Reply:
    value = read(ctx, argv[1])
    return None if value is None else dump(value, ctx.state.config.rdbcompression)


class RestoreOptions:
    """What stands behind the payload of RESTORE; -1 where nothing was said."""

    def __init__(self, argv: list[bytes]) -> None:
        """Read argv[4:]; raises CommandError."""
        self.is_replacing = False
        self.is_absolute = False
        self.idle_s = -1
        self.frequency = -1
        arguments = Arguments(argv, 4)
        while arguments.has_more():
            if arguments.skip(b"REPLACE"):
                self.is_replacing = True
            elif arguments.skip(b"ABSTTL"):
                self.is_absolute = True
            elif self.frequency < 0 and arguments.skip_with_value(b"IDLETIME"):
                self.idle_s = arguments.integer()
                if self.idle_s < 0:
                    raise CommandError(INVALID_IDLE)
            elif self.idle_s < 0 and arguments.skip_with_value(b"FREQ"):
                self.frequency = arguments.integer()
                if not 0 <= self.frequency <= COUNTER_MAX:
                    raise CommandError(INVALID_FREQUENCY)
            else:
                raise arguments.syntax_error()

    def words(self, is_expiring: bool) -> list[bytes]:
        """Write the options for a replica: the time, if there is one, is absolute by now."""
        words = [b"REPLACE"] if self.is_replacing else []
        if is_expiring:
            words.append(b"ABSTTL")
        if self.idle_s >= 0:
            words += [b"IDLETIME", b"%d" % self.idle_s]
        if self.frequency >= 0:
            words += [b"FREQ", b"%d" % self.frequency]
        return words


_USAGE: Final = (
    "key ttl:integer serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency:integer]"
)


@command("RESTORE", _USAGE, group=GENERIC, flags=WRITE | DENYOOM, use=OW | UPDATE, since="2.6.0",
         complexity="O(N) for N bytes", categories=("keyspace", "dangerous"),
         summary="Make a key of the payload that DUMP returned.")  # fmt: skip
def restore_(ctx: Session, argv: list[bytes]) -> Reply:
    options = RestoreOptions(argv)
    key, payload = argv[1], argv[3]
    if not options.is_replacing and ctx.db.lookup(key, ctx.now_ms) is not None:
        return ErrorReply(BUSY_KEY)
    due_ms = integer(argv[2])
    if due_ms < 0:
        return ErrorReply(INVALID_TTL)
    value = _value_of(ctx, payload)
    if due_ms and not options.is_absolute:
        due_ms = min(due_ms + ctx.now_ms, INTEGER_MAX)
    if due_ms and due_ms <= ctx.now_ms and not ctx.is_master_link:
        if options.is_replacing and ctx.db.delete(key):
            ctx.notify(EVENT_GENERIC, b"del", key)
            ctx.rewrite([b"DEL", key])
        return OK
    if options.is_replacing:
        ctx.db.delete(key)  # so that it counts as a new key, as in Redis
    ctx.db.set(key, value)
    note_fields(ctx.db, key, value)
    if due_ms:
        ctx.db.set_expire(key, due_ms)
    take_over_use(ctx.db, key, options.idle_s, options.frequency)
    if version_of(payload) != VERSION_WRITTEN:
        payload = dump(value)
    ctx.rewrite([b"RESTORE", key, b"%d" % due_ms, payload, *options.words(due_ms > 0)])
    ctx.notify(EVENT_GENERIC, b"restore", key)
    return OK


@command("RESTORE-ASKING", _USAGE, group="server", flags=WRITE | DENYOOM | ASKING, use=OW | UPDATE,
         since="3.0.0", complexity="O(N) for N bytes", categories=("keyspace", "dangerous"),
         summary="RESTORE into a slot that is being imported.")  # fmt: skip
def restore_asking(ctx: Session, argv: list[bytes]) -> Reply:
    return restore_(ctx, argv)


def _value_of(ctx: Session, payload: bytes) -> Value:
    try:
        return restore(payload, ctx.state.limits, _is_checked(ctx))
    except UntrustedPayload:
        raise CommandError(UNTRUSTED) from None
    except BadPayload:
        raise CommandError(BAD_FORMAT) from None


def _is_checked(ctx: Session) -> bool:
    """Say whether a payload is looked at entry by entry: that of our master and of trusted users is not."""
    limits = ctx.state.limits
    if limits.checks_files:
        return True
    return limits.checks_payloads and not ctx.is_master_link and not ctx.user.skips_sanitizing
