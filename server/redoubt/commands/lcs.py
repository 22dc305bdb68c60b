"""LCS: what two strings have in common, in order, as text, length or places.

What a call may cost is bounded as in Redis: by the table of N times M numbers that Redis would need, though
ours is far smaller. Source: the Redis command reference, LCS, as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import ACCESS, READONLY, RO, STRING, KeySpec, command
from redoubt.commands.reading import read
from redoubt.data.structure import Structure
from redoubt.data.subsequence import Match, longest_length, longest_matches
from redoubt.data.text import text_bytes
from redoubt.resp.replies import CommandError, MapReply, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

# Of a number in Redis's table.
_NUMBER_BYTES: Final = 4


def _text(ctx: Session, key: bytes) -> bytes:
    value = read(ctx, key)
    if isinstance(value, Structure):
        raise CommandError(b"ERR The specified keys must contain string values")
    return b"" if value is None else text_bytes(value)


@command("LCS", "key1:key key2:key [LEN] [IDX] [MINMATCHLEN min-match-len:integer] [WITHMATCHLEN]",
         group=STRING, flags=READONLY, since="7.0.0", key_specs=[KeySpec(RO | ACCESS, index=1, last=1)],
         complexity="O(N*M/64) for strings of N and M bytes",
         summary="Find the longest common subsequence of two strings.")  # fmt: skip
def lcs(ctx: Session, argv: list[bytes]) -> Reply:
    one, other = _text(ctx, argv[1]), _text(ctx, argv[2])
    arguments = Arguments(argv, 3)
    wants_length = wants_places = has_lengths = False
    shortest = 0
    while arguments.has_more():
        if arguments.skip(b"IDX"):
            wants_places = True
        elif arguments.skip(b"LEN"):
            wants_length = True
        elif arguments.skip(b"WITHMATCHLEN"):
            has_lengths = True
        elif arguments.skip_with_value(b"MINMATCHLEN"):
            shortest = arguments.integer()
        else:
            raise arguments.syntax_error()
    if wants_length and wants_places:
        raise CommandError(b"ERR If you want both the length and indexes, please just use IDX.")
    if (len(one) + 1) * (len(other) + 1) * _NUMBER_BYTES > ctx.state.config.proto_max_bulk_len:
        text = b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
        raise CommandError(text)
    if wants_length:
        return longest_length(one, other)
    matches = longest_matches(one, other)
    if wants_places:
        total = sum([match.length() for match in matches])
        shown = [_described(match, has_lengths) for match in matches if match.length() >= shortest]
        return MapReply([(b"matches", shown), (b"len", total)])
    matches.reverse()
    return b"".join([one[match.first_in_one : match.last_in_one + 1] for match in matches])


def _described(match: Match, has_length: bool) -> Reply:
    reply: list[Reply] = [
        [match.first_in_one, match.last_in_one],
        [match.first_in_other, match.last_in_other],
    ]
    if has_length:
        reply.append(match.length())
    return reply
