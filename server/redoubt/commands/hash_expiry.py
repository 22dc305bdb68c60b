"""Times to live of single fields: HEXPIRE, HTTL, HPERSIST and their relatives.

As with whole keys, whatever unit and origin the client uses, the hash and the replicas get an absolute time
in milliseconds (HPEXPIREAT), naming only the fields whose time was set; a time that has passed already is a
deletion (HDEL). Each command answers with one number for each field.

Commands that read or write values and times together are in `hash_field_values`.
Source: the Redis command reference, group "hash", as of 7.4; `src/t_hash.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import integer
from redoubt.commands.declare import ACCESS, FAST, HASH, READONLY, RO, RW, UPDATE, WRITE, command
from redoubt.commands.hash import remove_fields, writable_hash
from redoubt.commands.hash_reading import readable_hash
from redoubt.data.field_deadlines import note_fields
from redoubt.data.hash import Hash
from redoubt.data.text import parse_integer
from redoubt.keyspace_events import EVENT_HASH
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

# What is answered for a field.
_NO_FIELD: Final = -2
_NO_TIME: Final = -1
_NOT_SET: Final = 0
_SET: Final = 1
_DELETED: Final = 2

# Redis keeps times of fields in 46 bits: until the year 4199.
DUE_MS_MAX: Final = (1 << 46) - 1
_CONDITIONS: Final = (b"NX", b"XX", b"GT", b"LT")
_NO_FIELDS: Final = b"ERR Mandatory argument FIELDS is missing or not at the right position"
_WRONG_COUNT: Final = b"ERR The `numfields` parameter must match the number of arguments"
_TIME_BELOW_0: Final = b"ERR invalid expire time, must be >= 0"
_COUNT_BELOW_1: Final = b"ERR Number of fields must be a positive integer"

_TIME_FLAGS: Final = READONLY | FAST
_FIELDS: Final = "FIELDS (numfields:integer field...)"


def counted_fields(argv: list[bytes], at: int, error: bytes = _COUNT_BELOW_1) -> list[bytes]:
    """Return the fields of `FIELDS numfields field ...` at the end of a call; raises CommandError."""
    if argv[at].upper() != b"FIELDS":
        raise CommandError(_NO_FIELDS)
    count = parse_integer(argv[at + 1]) if at + 1 < len(argv) else None
    if count is None or count < 1:
        raise CommandError(error)
    if count != len(argv) - at - 2:
        raise CommandError(_WRONG_COUNT)
    return argv[at + 2 :]


def field_due_ms(word: bytes, unit_ms: int, origin_ms: int, name: bytes) -> int:
    """Return the absolute time that a client means; raises CommandError in the name of the command."""
    time = integer(word)
    if time < 0:
        raise CommandError(_TIME_BELOW_0)
    due_ms = time * unit_ms
    if due_ms > DUE_MS_MAX - origin_ms:
        raise CommandError(b"ERR invalid expire time in '%s' command" % name)
    return due_ms + origin_ms


def set_dues(ctx: Session, key: bytes, found: Hash, fields: list[bytes], due_ms: int) -> None:
    """Let fields that are there expire at an absolute time, which lies ahead; announce it."""
    size_before = ctx.db.begin_change(key)
    for field in fields:
        # 0 would read as "no time"; it comes only from a master, and has passed long ago.
        found.set_due(field, max(due_ms, 1))
    ctx.db.end_change(found, size_before)
    note_fields(ctx.db, key, found)
    ctx.notify(EVENT_HASH, b"hexpire", key)


def persist_fields(ctx: Session, key: bytes, found: Hash, fields: list[bytes]) -> None:
    """Drop the times of fields that have one; announce it."""
    size_before = ctx.db.begin_change(key)
    for field in fields:
        found.persist(field)
    ctx.db.end_change(found, size_before)
    note_fields(ctx.db, key, found)
    ctx.notify(EVENT_HASH, b"hpersist", key)


def naming(name: bytes, words: list[bytes], fields: list[bytes]) -> list[bytes]:
    """Return a command that names fields behind FIELDS, as it is propagated."""
    return [name, *words, b"FIELDS", b"%d" % len(fields), *fields]


@command("HEXPIRE", f"key seconds [NX | XX | GT | LT] {_FIELDS}", group=HASH, flags=WRITE | FAST,
         use=RW | UPDATE, since="7.4.0", complexity="O(N) for N fields",
         summary="Let fields expire after a number of seconds.")  # fmt: skip
def hexpire(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, b"hexpire", 1000, ctx.now_ms)


@command("HPEXPIRE", f"key milliseconds [NX | XX | GT | LT] {_FIELDS}", group=HASH,
         flags=WRITE | FAST, use=RW | UPDATE, since="7.4.0", complexity="O(N) for N fields",
         summary="Let fields expire after a number of milliseconds.")  # fmt: skip
def hpexpire(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, b"hpexpire", 1, ctx.now_ms)


@command("HEXPIREAT", f"key unix-time-seconds [NX | XX | GT | LT] {_FIELDS}", group=HASH,
         flags=WRITE | FAST, use=RW | UPDATE, since="7.4.0", complexity="O(N) for N fields",
         summary="Let fields expire at a Unix time in seconds.")  # fmt: skip
def hexpireat(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, b"hexpireat", 1000, 0)


@command("HPEXPIREAT", f"key unix-time-milliseconds [NX | XX | GT | LT] {_FIELDS}", group=HASH,
         flags=WRITE | FAST, use=RW | UPDATE, since="7.4.0", complexity="O(N) for N fields",
         summary="Let fields expire at a Unix time in milliseconds.")  # fmt: skip
def hpexpireat(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, b"hpexpireat", 1, 0)


def _expire(ctx: Session, argv: list[bytes], name: bytes, unit_ms: int, origin_ms: int) -> Reply:
    """Set the times of fields where the condition holds, if there is one; one answer for each field."""
    key = argv[1]
    found = writable_hash(ctx, key, argv[4:])
    due_ms = field_due_ms(argv[2], unit_ms, origin_ms, name)
    condition = argv[3].upper() if argv[3].upper() in _CONDITIONS else b""
    fields = counted_fields(
        argv, 4 if condition else 3, b"ERR Parameter `numFields` should be greater than 0"
    )
    if found is None:
        return [_NO_FIELD] * len(fields)
    # A replica applies what its master decided, and waits for the deletion.
    is_past = due_ms <= ctx.now_ms and not ctx.is_master_link
    answers: list[Reply] = []
    chosen: dict[bytes, bool] = {}
    for field in fields:
        if (is_past and field in chosen) or found.get(field) is None:
            answers.append(_NO_FIELD)
            continue
        current_ms = due_ms if field in chosen else found.due_ms(field)
        if condition and not _holds(condition, current_ms, due_ms):
            answers.append(_NOT_SET)
            continue
        chosen[field] = True
        answers.append(_DELETED if is_past else _SET)
    if chosen and is_past:
        remove_fields(ctx, key, found, list(chosen))
        ctx.rewrite([b"HDEL", key, *chosen])
    elif chosen:
        set_dues(ctx, key, found, list(chosen), due_ms)
        ctx.rewrite(naming(b"HPEXPIREAT", [key, b"%d" % due_ms], list(chosen)))
    return answers


def _holds(condition: bytes, current_ms: int, due_ms: int) -> bool:
    """Compare with the present time of a field; one without (0) counts as living for ever."""
    if condition == b"NX":
        return current_ms == 0
    if condition == b"XX":
        return current_ms != 0
    if condition == b"GT":
        return current_ms != 0 and due_ms > current_ms
    return current_ms == 0 or due_ms < current_ms


@command("HPERSIST", f"key {_FIELDS}", group=HASH, flags=WRITE | FAST, use=RW | UPDATE, since="7.4.0",
         complexity="O(N) for N fields", summary="Let fields live until they are deleted.")  # fmt: skip
def hpersist(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    found = writable_hash(ctx, key, argv[4:])
    fields = counted_fields(argv, 2)
    answers: list[Reply] = []
    chosen: dict[bytes, bool] = {}
    for field in fields:
        if found is None or found.get(field) is None:
            answers.append(_NO_FIELD)
        elif field in chosen or found.due_ms(field) == 0:
            answers.append(_NO_TIME)
        else:
            chosen[field] = True
            answers.append(_SET)
    if found is not None and chosen:
        persist_fields(ctx, key, found, list(chosen))
        ctx.rewrite(naming(b"HPERSIST", [key], list(chosen)))
    return answers


@command("HTTL", f"key {_FIELDS}", group=HASH, flags=_TIME_FLAGS, use=RO | ACCESS, since="7.4.0",
         complexity="O(N) for N fields", summary="Return how many seconds fields have left.",
         tips=("nondeterministic_output",))  # fmt: skip
def httl(ctx: Session, argv: list[bytes]) -> Reply:
    return _times(ctx, argv, 1000, ctx.now_ms)


@command("HPTTL", f"key {_FIELDS}", group=HASH, flags=_TIME_FLAGS, use=RO | ACCESS, since="7.4.0",
         complexity="O(N) for N fields", summary="Return how many milliseconds fields have left.",
         tips=("nondeterministic_output",))  # fmt: skip
def hpttl(ctx: Session, argv: list[bytes]) -> Reply:
    return _times(ctx, argv, 1, ctx.now_ms)


@command("HEXPIRETIME", f"key {_FIELDS}", group=HASH, flags=_TIME_FLAGS, use=RO | ACCESS, since="7.4.0",
         complexity="O(N) for N fields",
         summary="Return the Unix times in seconds at which fields expire.")  # fmt: skip
def hexpiretime(ctx: Session, argv: list[bytes]) -> Reply:
    return _times(ctx, argv, 1000, 0)


@command("HPEXPIRETIME", f"key {_FIELDS}", group=HASH, flags=_TIME_FLAGS, use=RO | ACCESS, since="7.4.0",
         complexity="O(N) for N fields",
         summary="Return the Unix times in milliseconds at which fields expire.")  # fmt: skip
def hpexpiretime(ctx: Session, argv: list[bytes]) -> Reply:
    return _times(ctx, argv, 1, 0)


def _times(ctx: Session, argv: list[bytes], unit_ms: int, origin_ms: int) -> Reply:
    """Answer for each field with its time from `origin_ms` on, rounded up to the unit, as Redis does."""
    found = readable_hash(ctx, argv[1])
    answers: list[Reply] = []
    for field in counted_fields(argv, 2):
        if found is None or found.get(field, ctx.now_ms) is None:
            answers.append(_NO_FIELD)
            continue
        due_ms = found.due_ms(field)
        answers.append((due_ms - origin_ms + unit_ms - 1) // unit_ms if due_ms else _NO_TIME)
    return answers
