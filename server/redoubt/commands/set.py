"""Commands on single sets: SADD, SREM, SPOP, SMEMBERS, SSCAN and their relatives.

What combines several sets is in `set_algebra`. What SPOP took is propagated as SREM of these members, or as
DEL when none is left. A set without members does not exist: whoever removes the last one removes the key.

Source: the Redis command reference, group "set", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    DENYOOM,
    FAST,
    INSERT,
    READONLY,
    RO,
    RW,
    SET,
    WRITE,
    command,
)
from redoubt.commands.iteration import parse_cursor, parse_scan_options
from redoubt.commands.reading import WRONG_TYPE, read
from redoubt.data.set import MemberSet
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_SET
from redoubt.resp.replies import CommandError, Reply, SetReply

if TYPE_CHECKING:
    from redoubt.session import Session

NOT_POSITIVE: Final = b"ERR value is out of range, must be positive"
_COUNT_MAX: Final = (1 << 63) - 1
_BAD_COUNT: Final = b"ERR value is out of range, value must between %d and %d" % (-_COUNT_MAX, _COUNT_MAX)
# Above a third of the members, drawing until they differ takes longer than leaving some out.
_SHARE_DRAWN_MAX: Final = 3


def readable_set(ctx: Session, key: bytes) -> MemberSet | None:
    """Return the set at `key` for a reading command; raises CommandError for other types."""
    value = read(ctx, key)
    if value is None or isinstance(value, MemberSet):
        return value
    raise CommandError(WRONG_TYPE)


def writable_set(ctx: Session, key: bytes) -> MemberSet | None:
    """Return the set at `key` for a command that will change it; raises CommandError for other types."""
    value = ctx.db.lookup(key, ctx.now_ms)
    if value is None or isinstance(value, MemberSet):
        return value
    raise CommandError(WRONG_TYPE)


def add_members(ctx: Session, key: bytes, members: list[bytes]) -> int:
    """Add members, making the set if there is none; count the new ones."""
    found = writable_set(ctx, key)
    limits = ctx.state.limits
    if found is None:
        made = MemberSet()
        made.expect(members[0], len(members), limits)
        added = 0
        for member in members:
            added += made.add(member, limits)
        ctx.db.set(key, made)
        ctx.notify(EVENT_SET, b"sadd", key)
        return added
    size_before = ctx.db.begin_change(key)
    if len(members) > 1:
        found.expect(members[0], len(members), limits)
    added = 0
    for member in members:
        added += found.add(member, limits)
    if added == 0:
        ctx.db.end_quietly(found, size_before, False)  # expected members may have cost it its packed form
        return 0
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_SET, b"sadd", key)
    return added


def remove_members(
    ctx: Session, key: bytes, found: MemberSet, members: list[bytes], event: bytes = b"srem"
) -> int:
    """Remove members of an existing set, and the key with the last one; count those that were there."""
    is_found = False
    for member in members:
        is_found = is_found or found.has(member)
    if not is_found:
        return 0
    size_before = ctx.db.begin_change(key)
    removed = 0
    for member in members:
        if found.count() and found.remove(member):
            removed += 1
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_SET, event, key)
    if found.count() == 0:
        ctx.db.delete(key)
        ctx.notify(EVENT_GENERIC, b"del", key)
    return removed


@command("SADD", "key member [member ...]", group=SET, flags=WRITE | DENYOOM | FAST, use=RW | INSERT,
         since="1.0.0", complexity="O(N) for N members",
         summary="Add members to a set, making it if there is none.")  # fmt: skip
def sadd(ctx: Session, argv: list[bytes]) -> Reply:
    return add_members(ctx, argv[1], argv[2:])


@command("SREM", "key member [member ...]", group=SET, flags=WRITE | FAST, use=RW | DELETE, since="1.0.0",
         complexity="O(N) for N members", summary="Remove members of a set.")  # fmt: skip
def srem(ctx: Session, argv: list[bytes]) -> Reply:
    found = writable_set(ctx, argv[1])
    return 0 if found is None else remove_members(ctx, argv[1], found, argv[2:])


@command("SMOVE", "source:key destination:key member", group=SET, flags=WRITE | FAST,
         use=(RW | ACCESS | DELETE, RW | INSERT), since="1.0.0", complexity="O(1)",
         summary="Move a member from one set to another.")  # fmt: skip
def smove(ctx: Session, argv: list[bytes]) -> Reply:
    source, target = writable_set(ctx, argv[1]), ctx.db.lookup(argv[2], ctx.now_ms)
    if source is None:
        return 0
    if target is not None and not isinstance(target, MemberSet):
        raise CommandError(WRONG_TYPE)
    member = argv[3]
    if source is target:
        return 1 if source.has(member) else 0
    if remove_members(ctx, argv[1], source, [member]) == 0:
        return 0
    add_members(ctx, argv[2], [member])
    return 1


@command("SPOP", "key [count]", group=SET, flags=WRITE | FAST, use=RW | ACCESS | DELETE, since="1.0.0",
         complexity="O(N) for N members returned", summary="Remove random members of a set and return them.",
         tips=("nondeterministic_output",))  # fmt: skip
def spop(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    if len(argv) == 2:
        found = writable_set(ctx, key)
        if found is None:
            return None
        size_before = ctx.db.begin_change(key)
        member = found.pop_random(ctx.db.random)
        ctx.db.end_change(found, size_before)
        ctx.notify(EVENT_SET, b"spop", key)
        if found.count() == 0:
            ctx.db.delete(key)
            ctx.notify(EVENT_GENERIC, b"del", key)
        ctx.rewrite([b"SREM", key, member])
        return member
    arguments = Arguments(argv, 2)
    count = arguments.integer(NOT_POSITIVE)
    arguments.end()
    if count < 0:
        raise CommandError(NOT_POSITIVE)
    found = writable_set(ctx, key)
    if found is None or count == 0:
        return SetReply([])
    if count >= found.count():
        members = found.members()
        ctx.db.delete(key)
        ctx.notify(EVENT_SET, b"spop", key)
        ctx.notify(EVENT_GENERIC, b"del", key)
        ctx.rewrite([b"DEL", key])
    else:
        members = _draw_different(ctx, found, count)
        remove_members(ctx, key, found, members, b"spop")
        ctx.rewrite([b"SREM", key, *members])
    return SetReply(list[Reply](members))


@command("SRANDMEMBER", "key [count]", group=SET, flags=READONLY, use=RO | ACCESS, since="1.0.0",
         complexity="O(N) for N members returned", summary="Return random members of a set.",
         tips=("nondeterministic_output",))  # fmt: skip
def srandmember(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 2:
        found = readable_set(ctx, argv[1])
        return None if found is None else found.random_member(ctx.db.random)
    arguments = Arguments(argv, 2)
    count = arguments.integer()
    arguments.end()
    if not -_COUNT_MAX <= count <= _COUNT_MAX:
        raise CommandError(_BAD_COUNT)
    found = readable_set(ctx, argv[1])
    if found is None or count == 0:
        return []
    if count >= found.count():
        return list[Reply](found.members())
    if count > 0:
        return list[Reply](_draw_different(ctx, found, count))
    random = ctx.db.random
    if found.table is not None:
        return [found.random_member(random) for _ in range(-count)]
    members = found.members()
    return [members[random.randrange(len(members))] for _ in range(-count)]


def _draw_different(ctx: Session, found: MemberSet, count: int) -> list[bytes]:
    """Draw `count` different members, fewer than there are."""
    random = ctx.db.random
    if found.table is None or count * _SHARE_DRAWN_MAX > found.count():
        return random.sample(found.members(), count)
    drawn: dict[bytes, bool] = {}
    while len(drawn) < count:
        drawn[found.random_member(random)] = True
    return list(drawn)


@command("SISMEMBER", "key member", group=SET, flags=READONLY | FAST, use=RO, since="1.0.0",
         complexity="O(1)", summary="Say whether something is a member of a set.")  # fmt: skip
def sismember(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_set(ctx, argv[1])
    return 1 if found is not None and found.has(argv[2]) else 0


@command("SMISMEMBER", "key member [member ...]", group=SET, flags=READONLY | FAST, use=RO | ACCESS,
         since="6.2.0", complexity="O(N) for N members",
         summary="Say which of several are members of a set.")  # fmt: skip
def smismember(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_set(ctx, argv[1])
    return [1 if found is not None and found.has(member) else 0 for member in argv[2:]]


@command("SMEMBERS", "key", group=SET, flags=READONLY, use=RO | ACCESS, since="1.0.0",
         complexity="O(N) for N members", summary="Return all members of a set.",
         tips=("nondeterministic_output_order",))  # fmt: skip
def smembers(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_set(ctx, argv[1])
    return SetReply([] if found is None else list[Reply](found.members()))


@command("SCARD", "key", group=SET, flags=READONLY | FAST, use=RO, since="1.0.0", complexity="O(1)",
         summary="Return the number of members of a set.")  # fmt: skip
def scard(ctx: Session, argv: list[bytes]) -> Reply:
    found = readable_set(ctx, argv[1])
    return 0 if found is None else found.count()


@command("SSCAN", "key cursor [MATCH pattern] [COUNT count]", group=SET, flags=READONLY, use=RO | ACCESS,
         since="2.8.0", complexity="O(1) per call, O(N) for a whole iteration over N members",
         summary="Iterate over the members of a set.", tips=("nondeterministic_output",))  # fmt: skip
def sscan(ctx: Session, argv: list[bytes]) -> Reply:
    cursor = parse_cursor(argv[2])
    found = readable_set(ctx, argv[1])
    if found is None:  # Redis does not look at the options then
        return [b"0", []]
    options = parse_scan_options(Arguments(argv, 3))
    cursor, members = found.scan(cursor, options.count)
    return [b"%d" % cursor, [member for member in members if options.takes(member)]]
