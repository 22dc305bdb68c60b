"""Consumer groups: XGROUP and its subcommands, and XACK.

A group exists only under a stream that exists, if need be an empty one (MKSTREAM). Destroying a group tells
those who wait for it (`stream_reading`).

Source: the Redis command reference, group "stream", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    DELETE,
    DENYOOM,
    FAST,
    INSERT,
    RW,
    STREAM,
    UPDATE,
    WRITE,
    command,
    container,
)
from redoubt.commands.stream_arguments import (
    loose_id,
    read_stream,
    shown,
    strict_id,
    writable_stream,
    wrong_subcommand,
)
from redoubt.data.stream import Stream
from redoubt.data.stream_group import READ_UNKNOWN, Consumer, Group
from redoubt.keyspace_events import EVENT_STREAM
from redoubt.resp.replies import OK, CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

NO_STREAM: Final = (
    b"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the"
    b" MKSTREAM option to create an empty stream automatically."
)
# The words of XGROUP CREATE and SETID with each of their options once.
CREATE_WORDS_MAX: Final = 8
SETID_WORDS_MAX: Final = 7

container("XGROUP", group=STREAM, since="5.0.0", summary="Make and change the consumer groups of a stream.")


class GroupOptions:
    """What XGROUP CREATE and SETID read behind the id."""

    def __init__(self, argv: list[bytes], may_make: bool) -> None:
        self.makes_stream = False
        self.entries_read = READ_UNKNOWN
        arguments = Arguments(argv, 5)
        while arguments.has_more():
            if may_make and arguments.skip(b"MKSTREAM"):
                self.makes_stream = True
            elif arguments.skip_with_value(b"ENTRIESREAD"):
                self.entries_read = arguments.integer()
                if self.entries_read < READ_UNKNOWN:
                    raise CommandError(b"ERR value for ENTRIESREAD must be positive or -1")
            else:
                raise wrong_subcommand(b"XGROUP", argv[1])


def existing_stream(ctx: Session, key: bytes) -> Stream:
    """Return the stream that a subcommand of XGROUP needs."""
    stream = writable_stream(ctx, key)
    if stream is None:
        raise CommandError(NO_STREAM)
    return stream


def existing_group(stream: Stream, argv: list[bytes]) -> Group:
    """Return the group that a subcommand of XGROUP or XINFO names."""
    group = stream.groups.get(argv[3])
    if group is None:
        names = (shown(argv[3]), shown(argv[2]))
        raise CommandError(b"NOGROUP No such consumer group '%s' for key name '%s'" % names)
    return group


def add_consumer(ctx: Session, key: bytes, stream: Stream, group: Group, name: bytes) -> Consumer:
    """Make a consumer that does not exist yet; the caller propagates it."""
    size_before = ctx.db.begin_change(key)
    consumer = group.add_consumer(name, ctx.state.now_ms)
    ctx.db.end_quietly(stream, size_before, True)
    ctx.notify(EVENT_STREAM, b"xgroup-createconsumer", key)
    return consumer


@command("XGROUP CREATE", "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read:integer]", group=STREAM,
         flags=WRITE | DENYOOM, use=RW | INSERT, since="5.0.0", complexity="O(1)",
         summary="Make a group that has read the stream up to an id.")  # fmt: skip
def xgroup_create(ctx: Session, argv: list[bytes]) -> Reply:
    options = GroupOptions(argv, True)
    stream = writable_stream(ctx, argv[2]) if options.makes_stream else existing_stream(ctx, argv[2])
    if len(argv) > CREATE_WORDS_MAX:
        raise wrong_subcommand(b"XGROUP", argv[1])
    if argv[4] == b"$":
        last_id = 0 if stream is None else stream.last_id
    else:
        last_id = strict_id(argv[4])
    if stream is None:
        stream = Stream()
        stream.add_group(argv[3], last_id, options.entries_read)
        ctx.db.set(argv[2], stream)
    elif argv[3] in stream.groups:
        raise CommandError(b"BUSYGROUP Consumer Group name already exists")
    else:
        size_before = ctx.db.begin_change(argv[2])
        stream.add_group(argv[3], last_id, options.entries_read)
        ctx.db.end_quietly(stream, size_before, True)
    ctx.notify(EVENT_STREAM, b"xgroup-create", argv[2])
    return OK


@command("XGROUP SETID", "key group <id | $> [ENTRIESREAD entries-read:integer]", group=STREAM, flags=WRITE,
         use=RW | UPDATE, since="5.0.0", complexity="O(1)",
         summary="Say up to which id a group has read.")  # fmt: skip
def xgroup_setid(ctx: Session, argv: list[bytes]) -> Reply:
    options = GroupOptions(argv, False)
    stream = existing_stream(ctx, argv[2])
    group = existing_group(stream, argv)
    if len(argv) > SETID_WORDS_MAX:
        raise wrong_subcommand(b"XGROUP", argv[1])
    last_id = stream.last_id if argv[4] == b"$" else loose_id(argv[4])
    size_before = ctx.db.begin_change(argv[2])
    group.last_id = last_id
    group.entries_read = options.entries_read
    ctx.db.end_quietly(stream, size_before, True)
    ctx.notify(EVENT_STREAM, b"xgroup-setid", argv[2])
    return OK


@command("XGROUP DESTROY", "key group", group=STREAM, flags=WRITE, use=RW | DELETE, since="5.0.0",
         complexity="O(N) for N pending entries", summary="Remove a group.")  # fmt: skip
def xgroup_destroy(ctx: Session, argv: list[bytes]) -> Reply:
    stream = existing_stream(ctx, argv[2])
    if argv[3] not in stream.groups:
        return 0
    size_before = ctx.db.begin_change(argv[2])
    stream.delete_group(argv[3])
    ctx.db.end_quietly(stream, size_before, True)
    ctx.notify(EVENT_STREAM, b"xgroup-destroy", argv[2])
    ctx.state.blocking.key_waits.wake(ctx.database, argv[2])
    return 1


@command("XGROUP CREATECONSUMER", "key group consumer", group=STREAM, flags=WRITE | DENYOOM, use=RW | INSERT,
         since="6.2.0", complexity="O(1)", summary="Make a consumer of a group.")  # fmt: skip
def xgroup_createconsumer(ctx: Session, argv: list[bytes]) -> Reply:
    stream = existing_stream(ctx, argv[2])
    group = existing_group(stream, argv)
    if argv[4] in group.consumers:
        return 0
    add_consumer(ctx, argv[2], stream, group, argv[4])
    return 1


@command("XGROUP DELCONSUMER", "key group consumer", group=STREAM, flags=WRITE, use=RW | DELETE,
         since="5.0.0", complexity="O(N) for N pending entries",
         summary="Remove a consumer and what is pending for it.")  # fmt: skip
def xgroup_delconsumer(ctx: Session, argv: list[bytes]) -> Reply:
    stream = existing_stream(ctx, argv[2])
    group = existing_group(stream, argv)
    if argv[4] not in group.consumers:
        return 0
    size_before = ctx.db.begin_change(argv[2])
    count = group.delete_consumer(argv[4])
    ctx.db.end_quietly(stream, size_before, True)
    ctx.notify(EVENT_STREAM, b"xgroup-delconsumer", argv[2])
    return count


@command("XACK", "key group id [id ...]", group=STREAM, flags=WRITE | FAST, use=RW | UPDATE, since="5.0.0",
         complexity="O(log N) for each id", summary="Say that entries are done with.")  # fmt: skip
def xack(ctx: Session, argv: list[bytes]) -> Reply:
    stream = read_stream(ctx, argv[1])
    group = None if stream is None else stream.groups.get(argv[2])
    if stream is None or group is None:
        return 0
    ids = [strict_id(word) for word in argv[3:]]
    size_before = ctx.db.begin_change(argv[1])
    acknowledged = 0
    for entry_id in ids:
        if group.release(entry_id):
            acknowledged += 1
    if acknowledged:
        ctx.db.end_quietly(stream, size_before, True)
    return acknowledged
