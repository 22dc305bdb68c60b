"""Commands that look at hashes: HGET, HGETALL, HSCAN, HRANDFIELD and their relatives.

HSCAN returns a packed hash at once, as Redis does, and walks a table with the guarantee of SCAN.
HRANDFIELD with a positive count returns different fields, with a negative one as many as asked for.

Source: the Redis command reference, group "hash", as of 7.4 (NOVALUES).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer
from redoubt.commands.declare import ACCESS, FAST, HASH, READONLY, RO, command
from redoubt.commands.iteration import parse_cursor, parse_scan_options
from redoubt.commands.reading import WRONG_TYPE, read
from redoubt.data.hash import Hash
from redoubt.resp.replies import CommandError, MapReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

# With values, twice as many elements must fit a C long.
_WITH_VALUES_MAX: Final = (1 << 63) // 2 - 1
_COUNT_MAX: Final = (1 << 63) - 1
_BAD_COUNT: Final = b"ERR value is out of range, value must between %d and %d" % (-_COUNT_MAX, _COUNT_MAX)
# Above a third of the fields, drawing until they differ takes longer than leaving some out.
_SHARE_DRAWN_MAX: Final = 3


def readable_hash(ctx: Session, key: bytes) -> Hash | None:
    """Return the hash at `key` for a reading command; raises CommandError for other types."""
    value = read(ctx, key)
    if value is None:
        return None
    if isinstance(value, Hash):
        if value.deadlines is not None and ctx.state.upkeep.reap_fields(ctx.db, key, value, ctx.now_ms, []):
            return None
        return value
    raise CommandError(WRONG_TYPE)


@command("HGET", "key field", group=HASH, flags=READONLY | FAST, use=RO | ACCESS, since="2.0.0",
         complexity="O(1)", summary="Return the value of a field of a hash.")  # fmt: skip
def hget(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_hash(ctx, argv[1])
    return None if found is None else found.get(argv[2], ctx.now_ms)


@command("HMGET", "key field [field ...]", group=HASH, flags=READONLY | FAST, use=RO | ACCESS,
         since="2.0.0", complexity="O(N) for N fields",
         summary="Return the values of several fields of a hash.")  # fmt: skip
def hmget(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_hash(ctx, argv[1])
    values: list[Reply] = []
    for field in argv[2:]:
        values.append(None if found is None else found.get(field, ctx.now_ms))
    return values


@command("HGETALL", "key", group=HASH, flags=READONLY, use=RO | ACCESS, since="2.0.0",
         complexity="O(N) for N fields", summary="Return all fields of a hash with their values.",
         tips=("nondeterministic_output_order",))  # fmt: skip
def hgetall(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_hash(ctx, argv[1])
    pairs: list[tuple[Reply, Reply]] = []
    if found is not None:
        for field, value in found.pairs(ctx.now_ms):
            pairs.append((field, value))
    return MapReply(pairs)


@command("HKEYS", "key", group=HASH, flags=READONLY, use=RO | ACCESS, since="2.0.0",
         complexity="O(N) for N fields", summary="Return all fields of a hash.",
         tips=("nondeterministic_output_order",))  # fmt: skip
def hkeys(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_hash(ctx, argv[1])
    fields: list[Reply] = []
    if found is not None:
        fields.extend(found.fields(ctx.now_ms))
    return fields


@command("HVALS", "key", group=HASH, flags=READONLY, use=RO | ACCESS, since="2.0.0",
         complexity="O(N) for N fields", summary="Return the values of all fields of a hash.",
         tips=("nondeterministic_output_order",))  # fmt: skip
def hvals(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_hash(ctx, argv[1])
    values: list[Reply] = []
    if found is not None:
        values.extend([value for _, value in found.pairs(ctx.now_ms)])
    return values


@command("HLEN", "key", group=HASH, flags=READONLY | FAST, use=RO, since="2.0.0", complexity="O(1)",
         summary="Return the number of fields of a hash.")  # fmt: skip
def hlen(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_hash(ctx, argv[1])
    return 0 if found is None else found.visible_count(ctx.now_ms)


@command("HEXISTS", "key field", group=HASH, flags=READONLY | FAST, use=RO, since="2.0.0",
         complexity="O(1)", summary="Say whether a hash has a field.")  # fmt: skip
def hexists(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_hash(ctx, argv[1])
    return 0 if found is None or found.get(argv[2], ctx.now_ms) is None else 1


@command("HSTRLEN", "key field", group=HASH, flags=READONLY | FAST, use=RO, since="3.2.0",
         complexity="O(1)", summary="Return the length of the value of a field.")  # fmt: skip
def hstrlen(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_hash(ctx, argv[1])
    value = None if found is None else found.get(argv[2], ctx.now_ms)
    return 0 if value is None else len(value)


@command("HRANDFIELD", "key [count [WITHVALUES]]", group=HASH, flags=READONLY, use=RO | ACCESS,
         since="6.2.0", complexity="O(N) for N fields returned",
         summary="Return random fields of a hash.", tips=("nondeterministic_output",))  # fmt: skip
def hrandfield(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 2:
        found = readable_hash(ctx, argv[1])
        if found is None or not found.visible_count(ctx.now_ms):
            return None
        return found.random_pair(ctx.db.random, ctx.now_ms)[0]
    count = integer(argv[2])
    if not -_COUNT_MAX <= count <= _COUNT_MAX:
        raise CommandError(_BAD_COUNT)
    arguments = Arguments(argv, 3)
    has_values = arguments.skip(b"WITHVALUES")
    arguments.end()
    if has_values and not -_WITH_VALUES_MAX <= count <= _WITH_VALUES_MAX:
        raise CommandError(b"ERR value is out of range")
    found = readable_hash(ctx, argv[1])
    pairs = [] if found is None else _random_pairs(ctx, found, count)
    reply: list[Reply] = []
    for field, value in pairs:
        if has_values and ctx.resp == 3:
            reply.append([field, value])
        else:
            reply.append(field)
            if has_values:
                reply.append(value)
    return reply


def _random_pairs(ctx: Session, found: Hash, count: int) -> list[tuple[bytes, bytes]]:
    """Draw pairs: different ones for a positive count, independent ones for a negative."""
    random = ctx.db.random
    total = found.visible_count(ctx.now_ms)
    if total == 0:
        return []
    if count < 0:
        if found.table is None:
            pairs = found.pairs(ctx.now_ms)
            return [pairs[random.randrange(len(pairs))] for _ in range(-count)]
        return [found.random_pair(random, ctx.now_ms) for _ in range(-count)]
    if count >= total:
        return found.pairs(ctx.now_ms)
    if count * _SHARE_DRAWN_MAX > total or found.table is None:
        return random.sample(found.pairs(ctx.now_ms), count)
    drawn: dict[bytes, bytes] = {}
    while len(drawn) < count:
        field, value = found.random_pair(random, ctx.now_ms)
        drawn[field] = value
    return list(drawn.items())


@command("HSCAN", "key cursor [MATCH pattern] [COUNT count] [NOVALUES]", group=HASH, flags=READONLY,
         use=RO | ACCESS, since="2.8.0", complexity="O(1) per call, O(N) for a whole iteration over N fields",
         summary="Iterate over the fields of a hash.", tips=("nondeterministic_output",))  # fmt: skip
def hscan(ctx: Session, argv: list[bytes]) -> Reply:
    cursor = parse_cursor(argv[2])
    found = readable_hash(ctx, argv[1])
    if found is None:  # Redis does not look at the options then
        return [b"0", []]
    options = parse_scan_options(Arguments(argv, 3), b"NOVALUES")
    cursor, pairs = found.scan(cursor, options.count)
    words: list[Reply] = []
    for field, value in pairs:
        if options.takes(field) and not found.is_hidden(field, ctx.now_ms):
            words.append(field)
            if not options.is_bare:
                words.append(value)
    return [b"%d" % cursor, words]
