"""Parts of strings: APPEND, GETRANGE, SETRANGE.

A string that is changed in place becomes a `GrowableText`, so that a further change costs what it changes
and not what the whole string weighs. Source: the Redis command reference, group "string", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.commands.arguments import integer
from redoubt.commands.declare import (
    ACCESS,
    DENYOOM,
    FAST,
    INSERT,
    READONLY,
    RO,
    RW,
    STRING,
    UPDATE,
    WRITE,
    command,
)
from redoubt.commands.reading import read_text, writable_text
from redoubt.data.text import GrowableText, Text, text_bytes, text_length, text_slice
from redoubt.keyspace_events import EVENT_STRING
from redoubt.resp.replies import CommandError, ErrorReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session


@command("APPEND", "key value", group=STRING, flags=WRITE | DENYOOM | FAST, use=RW | INSERT, since="2.0.0",
         complexity="O(N) for N bytes appended",
         summary="Append to a string value, or set it if the key does not exist.")  # fmt: skip
def append(ctx: Session, argv: list[bytes]) -> Reply:
    key, tail = argv[1], argv[2]
    value = writable_text(ctx, key)
    if value is None:
        ctx.db.set(key, tail)
        ctx.notify(EVENT_STRING, b"append", key)
        return len(tail)
    length = text_length(value)
    _require_length(ctx, length, len(tail))
    grown = overwrite(ctx, key, value, length, tail)
    ctx.notify(EVENT_STRING, b"append", key)
    return text_length(grown)


@command("SETRANGE", "key offset value", group=STRING, flags=WRITE | DENYOOM, use=RW | UPDATE, since="2.2.0",
         complexity="O(N) for N bytes written, fill included",
         summary="Overwrite part of a string value; a gap before it is filled with zero bytes.")  # fmt: skip
def setrange(ctx: Session, argv: list[bytes]) -> Reply:
    key, patch = argv[1], argv[3]
    offset = integer(argv[2])
    if offset < 0:
        return ErrorReply(b"ERR offset is out of range")
    value = writable_text(ctx, key)
    if not patch:
        return 0 if value is None else text_length(value)
    _require_length(ctx, offset, len(patch))
    grown = overwrite(ctx, key, b"" if value is None else value, offset, patch)
    ctx.notify(EVENT_STRING, b"setrange", key)
    return text_length(grown)


def _require_length(ctx: Session, offset: int, length: int) -> None:
    if offset + length > ctx.state.config.proto_max_bulk_len and not ctx.is_master_link:
        raise CommandError(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")


def overwrite(ctx: Session, key: bytes, value: Text, offset: int, patch: bytes) -> GrowableText:
    """Write into the string at `key`, in place if it has been before; return it as it is then."""
    if isinstance(value, GrowableText):
        size_before = ctx.db.begin_change(key)
        value.overwrite(offset, patch)
        ctx.db.end_change(value, size_before)
        return value
    grown = GrowableText(text_bytes(value))
    grown.overwrite(offset, patch)
    ctx.db.store(key, grown)
    return grown


@command("GETRANGE", "key start end", group=STRING, flags=READONLY, use=RO | ACCESS, since="2.4.0",
         complexity="O(N) for N bytes returned",
         summary="Return part of a string value; negative positions count from its end.")  # fmt: skip
def getrange(ctx: Session, argv: list[bytes]) -> Reply:
    return _getrange(ctx, argv)


@command("SUBSTR", "key start end", group=STRING, flags=READONLY, use=RO | ACCESS, since="1.0.0",
         complexity="O(N) for N bytes returned",
         summary="Return part of a string value (now GETRANGE).")  # fmt: skip
def substr(ctx: Session, argv: list[bytes]) -> Reply:
    return _getrange(ctx, argv)


def _getrange(ctx: Session, argv: list[bytes]) -> Reply:
    start = integer(argv[2])
    end = integer(argv[3])
    value = read_text(ctx, argv[1])
    if value is None or (start < 0 and end < 0 and start > end):
        return b""
    length = text_length(value)
    first = max(0, start + length if start < 0 else start)
    last = min(max(0, end + length if end < 0 else end), length - 1)
    return b"" if first > last else text_slice(value, first, last + 1)
