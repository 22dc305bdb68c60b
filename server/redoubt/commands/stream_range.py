"""XRANGE and XREVRANGE: the entries of a stream between two ids.

Source: the Redis command reference, group "stream", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import ACCESS, READONLY, RO, STREAM, command
from redoubt.commands.stream_arguments import entries_reply, range_end, range_start, read_stream
from redoubt.resp.replies import NULL_ARRAY, Reply

if TYPE_CHECKING:
    from redoubt.session import Session


@command("XRANGE", "key start:string end:string [COUNT count]", group=STREAM, flags=READONLY, use=RO | ACCESS,
         since="5.0.0", complexity="O(N) for N entries returned",
         summary="Return the entries between two ids.")  # fmt: skip
def xrange(ctx: Session, argv: list[bytes]) -> Reply:
    return _range(ctx, argv, argv[2], argv[3], False)


@command("XREVRANGE", "key end:string start:string [COUNT count]", group=STREAM, flags=READONLY,
         use=RO | ACCESS, since="5.0.0", complexity="O(N) for N entries returned",
         summary="Return the entries between two ids, the highest first.")  # fmt: skip
def xrevrange(ctx: Session, argv: list[bytes]) -> Reply:
    return _range(ctx, argv, argv[3], argv[2], True)


def _range(ctx: Session, argv: list[bytes], first: bytes, last: bytes, is_reversed: bool) -> Reply:
    start = range_start(first)
    end = range_end(last)
    count = -1
    arguments = Arguments(argv, 4)
    while arguments.has_more():
        if not arguments.skip_with_value(b"COUNT"):
            raise arguments.syntax_error()
        count = max(arguments.integer(), 0)
    stream = read_stream(ctx, argv[1])
    if stream is None:
        return []
    if count == 0:
        return NULL_ARRAY
    return entries_reply(stream.range(start, end, max(count, 0), is_reversed))
