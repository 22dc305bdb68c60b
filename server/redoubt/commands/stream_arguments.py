"""Arguments of the commands on streams: ids, bounds of ranges, groups; and how entries are replied.

An id may leave out its sequence, which is then the lowest or the highest, as the place demands; `-` and `+`
stand for all ids where a range is meant, and a `(` before an id leaves that id itself out.

Called by the command modules of streams. Source: Redis 7.2 `src/t_stream.c`, the error texts included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.reading import WRONG_TYPE, read
from redoubt.data.stream import Stream, StreamEntry
from redoubt.data.stream_group import Group
from redoubt.data.stream_id import ID_MAX, SEQUENCE_MAX, parse_id, text_of
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

INVALID_ID: Final = b"ERR Invalid stream ID specified as stream command argument"
INVALID_START: Final = b"ERR invalid start ID for the interval"
INVALID_END: Final = b"ERR invalid end ID for the interval"


def writable_stream(ctx: Session, key: bytes) -> Stream | None:
    """Return the stream at `key` for a command that may change it; raises CommandError for other types."""
    value = ctx.db.lookup(key, ctx.now_ms)
    if value is None or isinstance(value, Stream):
        return value
    raise CommandError(WRONG_TYPE)


def read_stream(ctx: Session, key: bytes) -> Stream | None:
    """Return the stream at `key` for a reading command; raises CommandError for other types."""
    value = read(ctx, key)
    if value is None or isinstance(value, Stream):
        return value
    raise CommandError(WRONG_TYPE)


def group_of(ctx: Session, key: bytes, name: bytes) -> tuple[Stream, Group]:
    """Return a stream and one of its groups; raises CommandError (NOGROUP) if either does not exist."""
    stream = read_stream(ctx, key)
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        raise CommandError(b"NOGROUP No such key '%s' or consumer group '%s'" % (shown(key), shown(name)))
    return stream, group


def shown(name: bytes) -> bytes:
    """Return a name as errors show it: up to the first zero byte, as C prints it."""
    return name.split(b"\0", 1)[0]


def strict_id(word: bytes, missing_sequence: int = 0) -> int:
    """Read an id; `-` and `+` are none."""
    entry_id = parse_id(word, missing_sequence)
    if entry_id is None:
        raise CommandError(INVALID_ID)
    return entry_id


def loose_id(word: bytes, missing_sequence: int = 0) -> int:
    """Read an id, `-` for the lowest or `+` for the highest."""
    if word == b"-":
        return 0
    return ID_MAX if word == b"+" else strict_id(word, missing_sequence)


def range_start(word: bytes) -> int:
    """Read where a range begins."""
    if len(word) > 1 and word[0] == 40:  # an opening parenthesis
        start = strict_id(word[1:]) + 1
        if start > ID_MAX:
            raise CommandError(INVALID_START)
        return start
    return loose_id(word)


def range_end(word: bytes) -> int:
    """Read where a range ends."""
    if len(word) > 1 and word[0] == 40:
        end = strict_id(word[1:], SEQUENCE_MAX) - 1
        if end < 0:
            raise CommandError(INVALID_END)
        return end
    return loose_id(word, SEQUENCE_MAX)


def entry_reply(entry: StreamEntry) -> Reply:
    """Return an entry as clients see it: id, then field, value, ... in turn."""
    return [text_of(entry.entry_id), entry.items]


def entries_reply(entries: list[StreamEntry]) -> Reply:
    """Return entries as clients see them."""
    return [entry_reply(entry) for entry in entries]


def wrong_subcommand(container: bytes, subcommand: bytes) -> CommandError:
    """Make the error for a subcommand whose options are none."""
    return CommandError(
        b"ERR unknown subcommand or wrong number of arguments for '%s'. Try %s HELP."
        % (shown(subcommand)[:128], container)
    )
