"""XINFO: what is known of a stream, its groups and their consumers.

There is no radix tree here: `radix-tree-keys` counts the nodes of the stream, and `radix-tree-nodes` those
and the list that holds them.

Source: the Redis command reference, group "stream", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import ACCESS, READONLY, RO, STREAM, command, container
from redoubt.commands.reading import NO_SUCH_KEY
from redoubt.commands.stream import NONDETERMINISTIC
from redoubt.commands.stream_arguments import entries_reply, entry_reply, read_stream, wrong_subcommand
from redoubt.commands.stream_group import existing_group
from redoubt.data.stream import Stream
from redoubt.data.stream_group import READ_UNKNOWN, Consumer, Group
from redoubt.data.stream_id import ID_MAX, text_of
from redoubt.resp.replies import CommandError, MapReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

# How many entries XINFO STREAM FULL shows of each list, if the call does not say.
SHOWN_DEFAULT: Final = 10

container("XINFO", group=STREAM, since="5.0.0", summary="Look at a stream, its groups and their consumers.")


def existing_stream(ctx: Session, key: bytes) -> Stream:
    """Return the stream that XINFO asks for."""
    stream = read_stream(ctx, key)
    if stream is None:
        raise CommandError(NO_SUCH_KEY)
    return stream


@command("XINFO STREAM", "key [FULL [COUNT count]]", group=STREAM, flags=READONLY, use=RO | ACCESS,
         since="5.0.0", complexity="O(1), with FULL O(N) for N entries shown",
         summary="Return the counters of a stream, with FULL also what is in it.")  # fmt: skip
def xinfo_stream(ctx: Session, argv: list[bytes]) -> Reply:
    stream = existing_stream(ctx, argv[2])
    shown = -1
    arguments = Arguments(argv, 3)
    if arguments.has_more():
        if arguments.left() == 2 or arguments.left() > 3 or not arguments.skip(b"FULL"):
            raise wrong_subcommand(b"XINFO", argv[1])
        shown = SHOWN_DEFAULT
        if arguments.has_more():
            if not arguments.skip(b"COUNT"):
                raise wrong_subcommand(b"XINFO", argv[1])
            shown = arguments.integer()
            if shown < 0:
                shown = SHOWN_DEFAULT
    pairs: list[tuple[bytes, Reply]] = [
        (b"length", stream.length),
        (b"radix-tree-keys", len(stream.packs)),
        (b"radix-tree-nodes", len(stream.packs) + 1),
        (b"last-generated-id", text_of(stream.last_id)),
        (b"max-deleted-entry-id", text_of(stream.max_deleted_id)),
        (b"entries-added", stream.entries_added),
        (b"recorded-first-entry-id", text_of(stream.first_id)),
    ]
    if shown < 0:
        first = stream.range(0, ID_MAX, 1)
        last = stream.range(0, ID_MAX, 1, True)
        pairs.append((b"groups", len(stream.groups)))
        pairs.append((b"first-entry", entry_reply(first[0]) if first else None))
        pairs.append((b"last-entry", entry_reply(last[0]) if last else None))
    else:
        groups: list[Reply] = [_full_group(stream, name, shown) for name in sorted(stream.groups)]
        pairs.append((b"entries", entries_reply(stream.range(0, ID_MAX, shown))))
        pairs.append((b"groups", groups))
    return MapReply(pairs)


def _full_group(stream: Stream, name: bytes, shown: int) -> Reply:
    group = stream.groups[name]
    pending: list[Reply] = [
        [text_of(entry_id), one.owner, one.delivered_ms, one.deliveries]
        for entry_id, one in group.pending.slice(0, ID_MAX, shown)
    ]
    consumers: list[Reply] = [_full_consumer(consumer, shown) for consumer in group.sorted_consumers()]
    pairs: list[tuple[bytes, Reply]] = [
        (b"name", name),
        (b"last-delivered-id", text_of(group.last_id)),
        (b"entries-read", _entries_read(group)),
        (b"lag", stream.lag_of(group)),
        (b"pel-count", group.pending.total),
        (b"pending", pending),
        (b"consumers", consumers),
    ]
    return MapReply(pairs)


def _full_consumer(consumer: Consumer, shown: int) -> Reply:
    pending: list[Reply] = [
        [text_of(entry_id), one.delivered_ms, one.deliveries]
        for entry_id, one in consumer.pending.slice(0, ID_MAX, shown)
    ]
    pairs: list[tuple[bytes, Reply]] = [
        (b"name", consumer.name),
        (b"seen-time", consumer.seen_ms),
        (b"active-time", consumer.active_ms),
        (b"pel-count", consumer.pending.total),
        (b"pending", pending),
    ]
    return MapReply(pairs)


def _entries_read(group: Group) -> Reply:
    return None if group.entries_read == READ_UNKNOWN else group.entries_read


@command("XINFO GROUPS", "key", group=STREAM, flags=READONLY, use=RO | ACCESS, since="5.0.0",
         complexity="O(1)", summary="Return the groups of a stream.")  # fmt: skip
def xinfo_groups(ctx: Session, argv: list[bytes]) -> Reply:
    stream = existing_stream(ctx, argv[2])
    found: list[Reply] = []
    for name in sorted(stream.groups):
        group = stream.groups[name]
        pairs: list[tuple[bytes, Reply]] = [
            (b"name", name),
            (b"consumers", len(group.consumers)),
            (b"pending", group.pending.total),
            (b"last-delivered-id", text_of(group.last_id)),
            (b"entries-read", _entries_read(group)),
            (b"lag", stream.lag_of(group)),
        ]
        found.append(MapReply(pairs))
    return found


@command("XINFO CONSUMERS", "key group", group=STREAM, flags=READONLY, use=RO | ACCESS, since="5.0.0",
         complexity="O(1)", summary="Return the consumers of a group.", tips=NONDETERMINISTIC)  # fmt: skip
def xinfo_consumers(ctx: Session, argv: list[bytes]) -> Reply:
    group = existing_group(existing_stream(ctx, argv[2]), argv)
    now_ms = ctx.state.now_ms
    found: list[Reply] = []
    for consumer in group.sorted_consumers():
        pairs: list[tuple[bytes, Reply]] = [
            (b"name", consumer.name),
            (b"pending", consumer.pending.total),
            (b"idle", max(now_ms - consumer.seen_ms, 0)),
            (b"inactive", now_ms - consumer.active_ms if consumer.active_ms >= 0 else -1),
        ]
        found.append(MapReply(pairs))
    return found
