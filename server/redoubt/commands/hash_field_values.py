"""Values and times of fields in one command: HGETEX, HSETEX, HGETDEL.

What leaves for the replicas is the decision: HPEXPIREAT, HPERSIST or HDEL for the fields that HGETEX touched,
HSETEX with an absolute time and without a condition for those that were set, HDEL where the time had already
passed.

Called through the table of commands only. The rules of single fields' times are those of `hash_expiry`.
Source: the Redis command reference, group "hash", as of 8.0; the order of the checks is a real server's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import ACCESS, DELETE, DENYOOM, FAST, HASH, RW, UPDATE, WRITE, command
from redoubt.commands.hash import put_fields, remove_fields, writable_hash
from redoubt.commands.hash_expiry import counted_fields, field_due_ms, naming, persist_fields, set_dues
from redoubt.data.text import parse_integer
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

# The words that give a time: its unit in milliseconds, and whether it counts from now.
_TIMES: Final[dict[bytes, tuple[int, bool]]] = {
    b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False),
}  # fmt: skip
_FIELDS_MAX: Final = (1 << 31) - 1
_TIME: Final = "EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds"


@command("HGETDEL", "key FIELDS (numfields:integer field...)", group=HASH, flags=WRITE | FAST,
         use=RW | ACCESS | DELETE, since="8.0.0", complexity="O(N) for N fields",
         summary="Return the values of fields and remove them.")  # fmt: skip
def hgetdel(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    found = writable_hash(ctx, key, argv[4:])
    fields = counted_fields(argv, 2)
    if found is None:
        return [None] * len(fields)
    taken: dict[bytes, bool] = {}
    values: list[Reply] = []
    for field in fields:
        value = None if field in taken else found.get(field)
        values.append(value)
        if value is not None:
            taken[field] = True
    if taken:
        remove_fields(ctx, key, found, list(taken))
        ctx.rewrite([b"HDEL", key, *taken])
    return values


@command("HGETEX", f"key [{_TIME} | PERSIST] FIELDS (numfields:integer field...)", group=HASH,
         flags=WRITE | FAST, use=RW | ACCESS | UPDATE, since="8.0.0", complexity="O(N) for N fields",
         summary="Return the values of fields, and set or drop their times to live.")  # fmt: skip
def hgetex(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    found = writable_hash(ctx, key, argv[4:])
    word = argv[2].upper()
    due_ms = 0
    first = 3 if word == b"PERSIST" else 2
    if word in _TIMES:
        if len(argv) < 5:
            raise CommandError(_WRONG_ARITY % b"hgetex")
        due_ms = _due_ms(ctx, argv[3], word, b"hgetex")
        first = 4
    fields = counted_fields(argv, first)
    if found is None:
        return [None] * len(fields)
    values: list[Reply] = []
    chosen: dict[bytes, bool] = {}
    is_past = due_ms <= ctx.now_ms
    for field in fields:
        # One that this command deletes is gone when it is named again.
        value = None if is_past and word in _TIMES and field in chosen else found.get(field)
        values.append(value)
        if value is not None and (word in _TIMES or (first == 3 and found.due_ms(field))):
            chosen[field] = True
    if not chosen:
        return values
    names = list(chosen)
    if first == 3:
        persist_fields(ctx, key, found, names)
        ctx.rewrite(naming(b"HPERSIST", [key], names))
    elif is_past:
        remove_fields(ctx, key, found, names)
        ctx.rewrite([b"HDEL", key, *names])
    else:
        set_dues(ctx, key, found, names, due_ms)
        ctx.rewrite(naming(b"HPEXPIREAT", [key, b"%d" % due_ms], names))
    return values


_WRONG_ARITY: Final = b"ERR wrong number of arguments for '%s' command"


def _due_ms(ctx: Session, word: bytes, unit: bytes, name: bytes) -> int:
    unit_ms, is_relative = _TIMES[unit]
    return field_due_ms(word, unit_ms, ctx.now_ms if is_relative else 0, name)


class _SetOptions:
    """What stands between the key and the end of an HSETEX."""

    def __init__(self) -> None:
        self.condition = b""
        self.keeps_times = False
        # EX, PX, EXAT or PXAT, or empty; and the absolute time that it gives.
        self.unit = b""
        self.due_ms = 0
        self.pairs: list[bytes] = []


def _parse_set_options(ctx: Session, argv: list[bytes]) -> _SetOptions:
    """Read an HSETEX from its third word on; raises CommandError."""
    options = _SetOptions()
    arguments = Arguments(argv, 2)
    while arguments.has_more():
        word = arguments.word()
        name = word.upper()
        if name == b"FIELDS":
            options.pairs = _pairs(arguments)
        elif name in (b"FNX", b"FXX"):
            if options.condition:
                raise CommandError(b"ERR Only one of FXX or FNX arguments can be specified")
            options.condition = name
        elif name == b"KEEPTTL" or name in _TIMES:
            if options.keeps_times or options.unit:
                raise CommandError(
                    b"ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
                )
            if name == b"KEEPTTL":
                options.keeps_times = True
                continue
            if not arguments.has_more():
                raise CommandError(b"ERR missing expire time")
            options.unit = name
            options.due_ms = _due_ms(ctx, arguments.word(), name, b"hsetex")
        else:
            raise CommandError(b"ERR unknown argument: %s" % word)
    if not options.pairs:
        raise CommandError(b"ERR missing FIELDS argument")
    return options


def _pairs(arguments: Arguments) -> list[bytes]:
    """Read the number of pairs and the pairs, which end the call."""
    if arguments.left() < 3:
        raise CommandError(_WRONG_ARITY % b"hsetex")
    count = parse_integer(arguments.word())
    if count is None or not 1 <= count <= _FIELDS_MAX:
        raise CommandError(b"ERR invalid number of fields")
    if count * 2 != arguments.left():
        raise CommandError(_WRONG_ARITY % b"hsetex")
    return arguments.rest()


@command("HSETEX", f"key [FNX | FXX] [{_TIME} | KEEPTTL] FIELDS (numfields:integer (field value)...)",
         group=HASH, flags=WRITE | DENYOOM | FAST, use=RW | UPDATE, since="8.0.0",
         complexity="O(N) for N fields", summary="Set fields of a hash and their times to live.")  # fmt: skip
def hsetex(ctx: Session, argv: list[bytes]) -> Reply:
    options = _parse_set_options(ctx, argv)
    key, pairs = argv[1], options.pairs
    fields = list(dict.fromkeys(pairs[::2]))
    found = writable_hash(ctx, key, fields)
    if options.condition:
        there = 0 if found is None else sum([found.get(field) is not None for field in fields])
        if there != (0 if options.condition == b"FNX" else len(fields)):
            return 0
    put_fields(ctx, key, pairs, b"hset", options.keeps_times)
    words = [key]
    if options.unit:
        made = writable_hash(ctx, key, [])
        assert made is not None
        if options.due_ms <= ctx.now_ms and not ctx.is_master_link:
            remove_fields(ctx, key, made, fields)
            ctx.rewrite([b"HDEL", key, *fields])
            return 1
        set_dues(ctx, key, made, fields, options.due_ms)
        words += [b"PXAT", b"%d" % options.due_ms]
    elif options.keeps_times:
        words.append(b"KEEPTTL")
    ctx.rewrite([b"HSETEX", *words, b"FIELDS", b"%d" % (len(pairs) // 2), *pairs])
    return 1
