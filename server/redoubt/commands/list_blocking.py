"""Lists that clients wait for: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH.

Each takes what is there at once, like the command without its B; if nothing is there the client waits until
one of its keys holds a list (`redoubt.key_waits`), and the same is done then, with the key that became ready.
In a transaction, in a script and in the history of a master nobody can wait: the answer is that of a timeout.
What is propagated is what happened: LPOP, RPOP, LMOVE or RPOPLPUSH.

Source: the list commands of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.blocking import KeyWaiter
from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    ACCESS,
    BLOCKING,
    DELETE,
    DENYOOM,
    INSERT,
    LIST,
    NOSCRIPT,
    RW,
    WRITE,
    command,
)
from redoubt.commands.list import move, pop, pop_first_of_many, writable_list
from redoubt.commands.timeouts import deadline_of
from redoubt.data.list import TextList
from redoubt.resp.replies import NO_REPLY, NULL_ARRAY, Reply

if TYPE_CHECKING:
    from redoubt.session import Session


class PopWaiter(KeyWaiter):
    """A BLPOP or BRPOP that waits."""

    def __init__(self, deadline_ms: int, is_first: bool) -> None:
        super().__init__(deadline_ms)
        self.is_first = is_first

    def serve(self, ctx: Session, key: bytes) -> Reply:
        """Take an element of the list at `key`."""
        found = ctx.db.lookup(key, ctx.now_ms)
        return take(ctx, key, found, self.is_first) if isinstance(found, TextList) else NO_REPLY


class ManyPopWaiter(KeyWaiter):
    """A BLMPOP that waits."""

    def __init__(self, deadline_ms: int, is_first: bool, count: int) -> None:
        super().__init__(deadline_ms)
        self.is_first = is_first
        self.count = count

    def serve(self, ctx: Session, key: bytes) -> Reply:
        """Take elements of the list at `key`."""
        found = ctx.db.lookup(key, ctx.now_ms)
        if not isinstance(found, TextList):
            return NO_REPLY
        return pop_first_of_many(ctx, key, found, self.count, self.is_first)


class Move:
    """What BLMOVE or BRPOPLPUSH is to do: from where to where, at which ends."""

    def __init__(self, argv: list[bytes], from_first: bool, to_first: bool) -> None:
        self.source = argv[1]
        self.target = argv[2]
        self.from_first = from_first
        self.to_first = to_first
        # As it is propagated.
        if len(argv) == 6:
            ends = [b"LEFT" if is_first else b"RIGHT" for is_first in (from_first, to_first)]
            self.words = [b"LMOVE", argv[1], argv[2], *ends]
        else:
            self.words = [b"RPOPLPUSH", argv[1], argv[2]]

    def make(self, ctx: Session) -> Reply:
        """Move an element of a source that exists; raises CommandError if the target is no list."""
        reply = move(ctx, self.source, self.target, self.from_first, self.to_first)
        ctx.rewrite(self.words)
        return reply


class MoveWaiter(KeyWaiter):
    """A BLMOVE or BRPOPLPUSH that waits."""

    def __init__(self, deadline_ms: int, wanted: Move) -> None:
        super().__init__(deadline_ms)
        self.wanted = wanted

    def serve(self, ctx: Session, key: bytes) -> Reply:
        """Move an element of the list at `key`, unless a MIGRATE is about to carry the target away."""
        if ctx.state.blocking.holds_any(ctx.database, [key, self.wanted.target]):
            return NO_REPLY
        found = ctx.db.lookup(key, ctx.now_ms)
        return self.wanted.make(ctx) if isinstance(found, TextList) else NO_REPLY


@command("BLPOP", "key [key ...] timeout:double", group=LIST, flags=WRITE | NOSCRIPT | BLOCKING,
         use=RW | ACCESS | DELETE, since="2.0.0", complexity="O(N) for N keys",
         summary="Take the first element of the first list that has any, waiting for one.")  # fmt: skip
def blpop(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_pop(ctx, argv, True)


@command("BRPOP", "key [key ...] timeout:double", group=LIST, flags=WRITE | NOSCRIPT | BLOCKING,
         use=RW | ACCESS | DELETE, since="2.0.0", complexity="O(N) for N keys",
         summary="Take the last element of the first list that has any, waiting for one.")  # fmt: skip
def brpop(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_pop(ctx, argv, False)


def _blocking_pop(ctx: Session, argv: list[bytes], is_first: bool) -> Reply:
    deadline_ms = deadline_of(ctx, argv[-1])
    keys = argv[1:-1]
    for key in keys:
        found = writable_list(ctx, key)
        if found is not None:
            return take(ctx, key, found, is_first)
    if ctx.is_atomic:
        return NULL_ARRAY
    ctx.state.blocking.wait_for_keys(ctx, keys, PopWaiter(deadline_ms, is_first))
    return NO_REPLY


def take(ctx: Session, key: bytes, found: TextList, is_first: bool) -> Reply:
    """Take one element for BLPOP or BRPOP; return key and element."""
    text = pop(ctx, key, found, is_first)
    ctx.rewrite([b"LPOP" if is_first else b"RPOP", key])
    return [key, text]


@command("BLMPOP", "timeout:double numkeys key [key ...] <LEFT | RIGHT> [COUNT count]", group=LIST,
         flags=WRITE | BLOCKING, use=RW | ACCESS | DELETE, since="7.0.0",
         complexity="O(N+M) for N keys and M elements returned",
         summary="Take elements of the first list that has any, waiting for them.")  # fmt: skip
def blmpop(ctx: Session, argv: list[bytes]) -> Reply:
    keys, is_first, count = Arguments(argv, 2).keys_end_and_count(b"LEFT", b"RIGHT")
    deadline_ms = deadline_of(ctx, argv[1])
    for key in keys:
        found = writable_list(ctx, key)
        if found is not None:
            return pop_first_of_many(ctx, key, found, count, is_first)
    if ctx.is_atomic:
        return NULL_ARRAY
    ctx.state.blocking.wait_for_keys(ctx, keys, ManyPopWaiter(deadline_ms, is_first, count))
    return NO_REPLY


@command("BLMOVE", "source:key destination:key <LEFT | RIGHT> <LEFT | RIGHT> timeout:double", group=LIST,
         flags=WRITE | DENYOOM | NOSCRIPT | BLOCKING, use=(RW | ACCESS | DELETE, RW | INSERT), since="6.2.0",
         complexity="O(1)",
         summary="Move an element from an end of a list to one of another, waiting for it.")  # fmt: skip
def blmove(ctx: Session, argv: list[bytes]) -> Reply:
    arguments = Arguments(argv, 3)
    from_first = arguments.one_of_two(b"LEFT", b"RIGHT")
    to_first = arguments.one_of_two(b"LEFT", b"RIGHT")
    return _blocking_move(ctx, argv, from_first, to_first)


@command("BRPOPLPUSH", "source:key destination:key timeout:double", group=LIST,
         flags=WRITE | DENYOOM | NOSCRIPT | BLOCKING, use=(RW | ACCESS | DELETE, RW | INSERT), since="2.2.0",
         complexity="O(1)",
         summary="Move the last element of a list before the first of another, waiting for it.")  # fmt: skip
def brpoplpush(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_move(ctx, argv, False, True)


def _blocking_move(ctx: Session, argv: list[bytes], from_first: bool, to_first: bool) -> Reply:
    deadline_ms = deadline_of(ctx, argv[-1])
    wanted = Move(argv, from_first, to_first)
    if writable_list(ctx, wanted.source) is not None:
        return wanted.make(ctx)
    if ctx.is_atomic:
        return None
    ctx.state.blocking.wait_for_keys(ctx, [wanted.source], MoveWaiter(deadline_ms, wanted))
    return NO_REPLY
