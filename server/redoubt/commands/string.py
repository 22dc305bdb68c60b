"""Commands that set and get whole strings: GET, SET and their relatives.

A stored string is one of the three representations of `redoubt.data.text`; handlers here do not care which.
What each command propagates is a decision: SET with a relative expiry leaves as SET ... PXAT, a SET with
conditions as the plain SET that it turned out to be, GETEX as PEXPIREAT or PERSIST.

Counters are in `counter`, parts of strings in `string_range`. Source: the Redis command reference, group
"string", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    DENYOOM,
    FAST,
    INSERT,
    OW,
    READONLY,
    RO,
    RW,
    STRING,
    UPDATE,
    VARIABLE_FLAGS,
    WRITE,
    command,
)
from redoubt.commands.expiry_times import StringOptions, due_time, parse_string_options
from redoubt.commands.reading import read, read_text
from redoubt.data.structure import Structure
from redoubt.data.text import text_bytes, text_length
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_STRING
from redoubt.resp.replies import OK, CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session


@command("GET", "key", group=STRING, flags=READONLY | FAST, use=RO | ACCESS, since="1.0.0",
         complexity="O(1)", summary="Return the string value of a key.")  # fmt: skip
def get(ctx: Session, argv: list[bytes]) -> Reply:
    value = read_text(ctx, argv[1])
    if isinstance(value, bytes):
        return value
    return None if value is None else text_bytes(value)


@command("SET",
         "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds |"
         " PXAT unix-time-milliseconds | KEEPTTL]",
         group=STRING, flags=WRITE | DENYOOM, use=RW | ACCESS | UPDATE | VARIABLE_FLAGS, since="1.0.0",
         complexity="O(1)", summary="Set the string value of a key, whatever it held before.")  # fmt: skip
def set_(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 3:
        ctx.overwrite(argv[1], argv[2])
        ctx.notify(EVENT_STRING, b"set", argv[1])
        return OK
    return _set_with_options(ctx, argv[1], argv[2], parse_string_options(argv, 3, True))


def _set_with_options(ctx: Session, key: bytes, value: bytes, options: StringOptions) -> Reply:
    """Set `key` if the options allow it, and propagate the plain SET that came of it."""
    due_ms = 0
    if options.time_unit:
        due_ms = due_time(options.time_word, options.time_unit, ctx.now_ms, b"set")
    old: bytes | None = None
    if options.is_get:
        current = read_text(ctx, key)
        old = None if current is None else text_bytes(current)
    if options.is_nx or options.is_xx:
        exists = ctx.db.lookup(key, ctx.now_ms) is not None
        if exists if options.is_nx else not exists:
            return old
    if due_ms:
        _store_until(ctx, key, value, due_ms)
    elif options.keeps_ttl:
        # An expired key must not lend its expiry to the new value.
        ctx.db.peek(key, ctx.now_ms)
        ctx.db.store(key, value)
        ctx.notify(EVENT_STRING, b"set", key)
        ctx.rewrite([b"SET", key, value, b"KEEPTTL"])
    else:
        ctx.db.set(key, value)
        ctx.notify(EVENT_STRING, b"set", key)
        ctx.rewrite([b"SET", key, value])
    return old if options.is_get else OK


def _store_until(ctx: Session, key: bytes, value: bytes, due_ms: int) -> None:
    """Store a value that expires, and propagate it with its absolute time."""
    ctx.overwrite(key, value)
    ctx.db.set_expire(key, due_ms)
    ctx.notify(EVENT_STRING, b"set", key)
    ctx.notify(EVENT_GENERIC, b"expire", key)
    ctx.rewrite([b"SET", key, value, b"PXAT", b"%d" % due_ms])


@command("SETEX", "key seconds value", group=STRING, flags=WRITE | DENYOOM, use=OW | UPDATE, since="2.0.0",
         complexity="O(1)", summary="Set the string value and the time to live of a key.")  # fmt: skip
def setex(ctx: Session, argv: list[bytes]) -> Reply:
    _store_until(ctx, argv[1], argv[3], due_time(argv[2], b"EX", ctx.now_ms, b"setex"))
    return OK


@command("PSETEX", "key milliseconds value", group=STRING, flags=WRITE | DENYOOM, use=OW | UPDATE,
         since="2.6.0", complexity="O(1)",
         summary="Set the string value and the time to live of a key in milliseconds.")  # fmt: skip
def psetex(ctx: Session, argv: list[bytes]) -> Reply:
    _store_until(ctx, argv[1], argv[3], due_time(argv[2], b"PX", ctx.now_ms, b"psetex"))
    return OK


@command("SETNX", "key value", group=STRING, flags=WRITE | DENYOOM | FAST, use=OW | INSERT, since="1.0.0",
         complexity="O(1)", summary="Set the string value of a key that does not exist.")  # fmt: skip
def setnx(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.db.lookup(argv[1], ctx.now_ms) is not None:
        return 0
    ctx.db.set(argv[1], argv[2])
    ctx.notify(EVENT_STRING, b"set", argv[1])
    ctx.rewrite([b"SET", argv[1], argv[2]])
    return 1


@command("GETSET", "key value", group=STRING, flags=WRITE | DENYOOM | FAST, use=RW | ACCESS | UPDATE,
         since="1.0.0", complexity="O(1)",
         summary="Set the string value of a key and return the old one.")  # fmt: skip
def getset(ctx: Session, argv: list[bytes]) -> Reply:
    current = read_text(ctx, argv[1])
    old = None if current is None else text_bytes(current)
    ctx.db.set(argv[1], argv[2])
    ctx.notify(EVENT_STRING, b"set", argv[1])
    ctx.rewrite([b"SET", argv[1], argv[2]])
    return old


@command("GETDEL", "key", group=STRING, flags=WRITE | FAST, use=RW | ACCESS | DELETE, since="6.2.0",
         complexity="O(1)", summary="Return the string value of a key and delete the key.")  # fmt: skip
def getdel(ctx: Session, argv: list[bytes]) -> Reply:
    current = read_text(ctx, argv[1])
    if current is None:
        return None
    old = text_bytes(current)
    ctx.db.delete(argv[1])
    ctx.notify(EVENT_GENERIC, b"del", argv[1])
    ctx.rewrite([b"DEL", argv[1]])
    return old


@command("GETEX",
         "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds |"
         " PERSIST]",
         group=STRING, flags=WRITE | FAST, use=RW | ACCESS | UPDATE, since="6.2.0", complexity="O(1)",
         summary="Return the string value of a key and change when it expires.")  # fmt: skip
def getex(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    options = parse_string_options(argv, 2, False)
    current = read_text(ctx, key)
    if current is None:
        return None
    due_ms = 0
    if options.time_unit:
        due_ms = due_time(options.time_word, options.time_unit, ctx.now_ms, b"getex")
    value = text_bytes(current)
    if due_ms and due_ms <= ctx.now_ms:  # only an absolute time can have passed already
        ctx.db.delete(key)
        ctx.notify(EVENT_GENERIC, b"del", key)
        ctx.state.statistics.expired_keys += 1
        ctx.rewrite([b"DEL", key])
    elif due_ms:
        ctx.db.set_expire(key, due_ms)
        ctx.notify(EVENT_GENERIC, b"expire", key)
        ctx.rewrite([b"PEXPIREAT", key, b"%d" % due_ms])
    elif options.is_persist and ctx.db.persist(key):
        ctx.notify(EVENT_GENERIC, b"persist", key)
        ctx.rewrite([b"PERSIST", key])
    return value


@command("MGET", "key [key ...]", group=STRING, flags=READONLY | FAST, use=RO | ACCESS, since="1.0.0",
         complexity="O(N) for N keys", summary="Return the string values of several keys.",
         tips=("request_policy:multi_shard",))  # fmt: skip
def mget(ctx: Session, argv: list[bytes]) -> Reply:
    reply: list[Reply] = []
    for key in argv[1:]:
        value = read(ctx, key)
        # What is not a string counts as missing here, the one place where Redis does not call it an error.
        reply.append(None if value is None or isinstance(value, Structure) else text_bytes(value))
    return reply


@command("MSET", "key value [key value ...]", group=STRING, flags=WRITE | DENYOOM, use=OW | UPDATE,
         since="1.0.1", complexity="O(N) for N keys", summary="Set the string values of several keys.",
         tips=("request_policy:multi_shard", "response_policy:all_succeeded"))  # fmt: skip
def mset(ctx: Session, argv: list[bytes]) -> Reply:
    _require_pairs(argv, b"mset")
    _set_pairs(ctx, argv)
    return OK


@command("MSETNX", "key value [key value ...]", group=STRING, flags=WRITE | DENYOOM, use=OW | INSERT,
         since="1.0.1", complexity="O(N) for N keys",
         summary="Set the string values of several keys if none of them exists.",
         tips=("request_policy:multi_shard", "response_policy:agg_min"))  # fmt: skip
def msetnx(ctx: Session, argv: list[bytes]) -> Reply:
    _require_pairs(argv, b"msetnx")
    for index in range(1, len(argv), 2):
        if ctx.db.lookup(argv[index], ctx.now_ms) is not None:
            return 0
    _set_pairs(ctx, argv)
    ctx.rewrite([b"MSET", *argv[1:]])
    return 1


def _require_pairs(argv: list[bytes], name: bytes) -> None:
    if len(argv) % 2 == 0:
        raise CommandError(b"ERR wrong number of arguments for '%s' command" % name)


def _set_pairs(ctx: Session, argv: list[bytes]) -> None:
    for index in range(1, len(argv), 2):
        ctx.overwrite(argv[index], argv[index + 1])
        ctx.notify(EVENT_STRING, b"set", argv[index])


@command("STRLEN", "key", group=STRING, flags=READONLY | FAST, use=RO, since="2.2.0", complexity="O(1)",
         summary="Return the length of a string value.")  # fmt: skip
def strlen(ctx: Session, argv: list[bytes]) -> Reply:
    value = read_text(ctx, argv[1])
    return 0 if value is None else text_length(value)
