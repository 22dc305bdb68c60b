"""LOLWUT: a piece of generated art and the version of the server, as Redis has it in its own way.

The picture is a redoubt seen from above: rings of walls around a keep, broken at random where the besiegers
came through. VERSION is accepted for the sake of clients and chooses nothing but the size.

The dispatcher runs it. Source: the page of LOLWUT in the Redis documentation; the picture is our own.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import FAST, READONLY, SERVER, command
from redoubt.resp.replies import Reply, Verbatim
from redoubt.version import REDIS_VERSION, REDOUBT_VERSION

if TYPE_CHECKING:
    from redoubt.session import Session

RINGS: Final = 4
RINGS_MAX: Final = 12  # a client may choose how many, within reason
WALLS: Final = "#%+:"


@command(
    "LOLWUT", "[VERSION version:integer]", group=SERVER, flags=READONLY | FAST, since="5.0.0",
    complexity="O(1)", summary="Return a generated picture and the version of the server.",
)  # fmt: skip
def lolwut(ctx: Session, argv: list[bytes]) -> Reply:
    """LOLWUT [VERSION version [rings]]: anything else that is given is passed over, as in Redis."""
    arguments = Arguments(argv)
    rings = RINGS
    if arguments.skip_with_value(b"VERSION"):
        arguments.integer()
        if arguments.has_more():
            rings = min(max(arguments.integer(), 1), RINGS_MAX)
    picture = drawn(ctx.state.random, rings)
    text = f"{picture}\nRedis ver. {REDIS_VERSION} (Redoubt {REDOUBT_VERSION})\n"
    return Verbatim(text.encode("ascii"))


def drawn(random: Random, rings: int) -> str:
    """Draw so many walls around a keep, each with some breaches, each character twice as high as wide."""
    middle = 2 * rings
    lines = []
    for y in range(2 * middle + 1):
        line = []
        for x in range(2 * middle + 1):
            distance = max(abs(x - middle), abs(y - middle))
            if distance % 2 or random.random() < distance / (6 * middle):
                line.append("  ")
            else:
                line.append(WALLS[distance // 2 % len(WALLS)] * 2 if distance else "[]")
        lines.append("".join(line).rstrip())
    return "\n".join(lines)
