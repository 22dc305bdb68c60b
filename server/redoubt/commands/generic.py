"""Commands on keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE and their relatives.

Times to live are in `expiry`, SCAN and KEYS in `iteration`, OBJECT in `objects`, whole databases in
`database`. Source: the Redis command reference, group "generic", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    DENYOOM,
    FAST,
    GENERIC,
    INSERT,
    OW,
    READONLY,
    RM,
    RO,
    RW,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.reading import NO_SUCH_KEY, database_number, database_of, read, read_untouched
from redoubt.data.field_deadlines import note_fields
from redoubt.data.text import copy_of, type_name
from redoubt.keyspace_events import EVENT_GENERIC
from redoubt.resp.replies import OK, CommandError, ErrorReply, Reply, SimpleString

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.session import Session

SAME_OBJECT: Final = ErrorReply(b"ERR source and destination objects are the same")


@command("DEL", "key [key ...]", group=GENERIC, flags=WRITE, use=RM | DELETE, since="1.0.0",
         complexity="O(N) for N keys", summary="Delete keys.",
         tips=("request_policy:multi_shard", "response_policy:agg_sum"))  # fmt: skip
def del_(ctx: Session, argv: list[bytes]) -> Reply:
    return _delete(ctx, argv)


@command("UNLINK", "key [key ...]", group=GENERIC, flags=WRITE | FAST, use=RM | DELETE, since="4.0.0",
         complexity="O(N) for N keys", summary="Delete keys, freeing large values in pieces.",
         tips=("request_policy:multi_shard", "response_policy:agg_sum"))  # fmt: skip
def unlink(ctx: Session, argv: list[bytes]) -> Reply:
    return _delete(ctx, argv)


def _delete(ctx: Session, argv: list[bytes]) -> Reply:
    deleted = 0
    for key in argv[1:]:
        # A key that has expired meanwhile is deleted by the lookup and does not count.
        if ctx.db.peek(key, ctx.now_ms) is not None and ctx.db.delete(key):
            ctx.notify(EVENT_GENERIC, b"del", key)
            deleted += 1
    return deleted


@command("EXISTS", "key [key ...]", group=GENERIC, flags=READONLY | FAST, use=RO, since="1.0.0",
         complexity="O(N) for N keys", summary="Count how many of the keys exist.",
         tips=("request_policy:multi_shard", "response_policy:agg_sum"))  # fmt: skip
def exists(ctx: Session, argv: list[bytes]) -> Reply:
    return sum([read(ctx, key) is not None for key in argv[1:]])


@command("TOUCH", "key [key ...]", group=GENERIC, flags=READONLY | FAST, use=RO, since="3.2.1",
         complexity="O(N) for N keys", summary="Count the keys that exist, and mark them as just used.",
         tips=("request_policy:multi_shard", "response_policy:agg_sum"))  # fmt: skip
def touch(ctx: Session, argv: list[bytes]) -> Reply:
    return sum([read(ctx, key) is not None for key in argv[1:]])


@command("TYPE", "key", group=GENERIC, flags=READONLY | FAST, use=RO, since="1.0.0", complexity="O(1)",
         summary="Return the type of the value of a key.")  # fmt: skip
def type_(ctx: Session, argv: list[bytes]) -> Reply:
    value = read_untouched(ctx, argv[1])
    return SimpleString(b"none" if value is None else type_name(value))


@command("RENAME", "key newkey", group=GENERIC, flags=WRITE, use=(RW | ACCESS | DELETE, OW | UPDATE),
         since="1.0.0", complexity="O(1)", summary="Rename a key, replacing the new name's.")  # fmt: skip
def rename(ctx: Session, argv: list[bytes]) -> Reply:
    _rename(ctx, argv[1], argv[2], False)
    return OK


@command("RENAMENX", "key newkey", group=GENERIC, flags=WRITE | FAST,
         use=(RW | ACCESS | DELETE, OW | INSERT), since="1.0.0", complexity="O(1)",
         summary="Rename a key if the new name is free.")  # fmt: skip
def renamenx(ctx: Session, argv: list[bytes]) -> Reply:
    return 1 if _rename(ctx, argv[1], argv[2], True) else 0


def _rename(ctx: Session, key: bytes, newkey: bytes, needs_free_name: bool) -> bool:
    """Move value and expiry to the new name; say whether it was done."""
    value = ctx.db.lookup(key, ctx.now_ms)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    if key == newkey or (needs_free_name and ctx.db.lookup(newkey, ctx.now_ms) is not None):
        return False
    due_ms = ctx.db.expire_at(key)
    ctx.db.delete(key)
    if ctx.state.event_classes:
        ctx.db.peek(newkey, ctx.now_ms)
    ctx.db.delete(newkey)  # so that the new name counts as a new key, as in Redis
    ctx.db.set(newkey, value)
    note_fields(ctx.db, newkey, value)
    if due_ms:
        ctx.db.set_expire(newkey, due_ms)
    ctx.notify(EVENT_GENERIC, b"rename_from", key)
    ctx.notify(EVENT_GENERIC, b"rename_to", newkey)
    return True


@command("COPY", "source:key destination:key [DB destination-db:integer] [REPLACE]", group=GENERIC,
         flags=WRITE | DENYOOM, use=(RO | ACCESS, OW | UPDATE), since="6.2.0", complexity="O(N) for N bytes",
         summary="Copy the value of a key to another key.")  # fmt: skip
def copy(ctx: Session, argv: list[bytes]) -> Reply:
    target = ctx.db
    is_replacing = False
    arguments = Arguments(argv, 3)
    while arguments.has_more():
        if arguments.skip(b"REPLACE"):
            is_replacing = True
        elif arguments.skip_with_value(b"DB"):
            target = database_of(ctx, database_number(arguments.word()))
        else:
            raise arguments.syntax_error()
    if ctx.state.config.cluster_enabled and target is not ctx.state.keyspaces[0]:
        return ErrorReply(b"ERR Copying to another database is not allowed in cluster mode")
    return _copy(ctx, argv[1], argv[2], target, is_replacing)


def _copy(ctx: Session, key: bytes, newkey: bytes, target: Keyspace, is_replacing: bool) -> Reply:
    if target is ctx.db and key == newkey:
        return SAME_OBJECT
    value = read(ctx, key)
    if value is None or (target.lookup(newkey, ctx.now_ms) is not None and not is_replacing):
        return 0
    due_ms = ctx.db.expire_at(key)
    copied = copy_of(value)
    target.delete(newkey)  # so that it counts as a new key, as in Redis
    target.set(newkey, copied)
    note_fields(target, newkey, copied)
    if due_ms:
        target.set_expire(newkey, due_ms)
    ctx.state.events.notify(target.database, EVENT_GENERIC, b"copy_to", newkey)
    if target is not ctx.db:
        ctx.db.changes += 1  # what is propagated is asked of the session's own database
    return 1


@command("MOVE", "key db:integer", group=GENERIC, flags=WRITE | FAST, use=RW | ACCESS | UPDATE, since="1.0.0",
         complexity="O(1)", summary="Move a key to another database.")  # fmt: skip
def move(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.state.config.cluster_enabled:
        return ErrorReply(b"ERR MOVE is not allowed in cluster mode")
    target = database_of(ctx, database_number(argv[2]))
    if target is ctx.db:
        return SAME_OBJECT
    key = argv[1]
    value = ctx.db.lookup(key, ctx.now_ms)
    if value is None or target.lookup(key, ctx.now_ms) is not None:
        return 0
    due_ms = ctx.db.expire_at(key)
    ctx.db.delete(key)
    target.set(key, value)
    note_fields(target, key, value)
    if due_ms:
        target.set_expire(key, due_ms)
    ctx.notify(EVENT_GENERIC, b"move_from", key)
    ctx.state.events.notify(target.database, EVENT_GENERIC, b"move_to", key)
    return 1
