"""Commands that push to lists and pop from them: LPUSH, RPOP, LMOVE, LMPOP and their relatives.

Those that look at a list or change its middle are in `list_middle`. A list without elements does not exist:
whoever takes the last one removes the key. What LMPOP took is propagated as LPOP or RPOP of the key that it
chose.

Source: the Redis command reference, group "list", as of 7.2.
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
    LIST,
    RW,
    WRITE,
    command,
)
from redoubt.commands.reading import WRONG_TYPE
from redoubt.data.list import TextList
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_LIST
from redoubt.resp.replies import NULL_ARRAY, CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

NOT_POSITIVE: Final = b"ERR value is out of range, must be positive"


def writable_list(ctx: Session, key: bytes) -> TextList | None:
    """Return the list at `key` for a command that will change it; raises CommandError for other types."""
    value = ctx.db.lookup(key, ctx.now_ms)
    if value is None or isinstance(value, TextList):
        return value
    raise CommandError(WRONG_TYPE)


def push(ctx: Session, key: bytes, texts: list[bytes], is_first: bool) -> int:
    """Push elements one after the other, making the list if there is none; return its length."""
    found = writable_list(ctx, key)
    limits = ctx.state.limits
    if found is None:
        made = TextList()
        for text in texts:
            made.push(text, is_first, limits)
        ctx.db.set(key, made)
        ctx.notify(EVENT_LIST, b"lpush" if is_first else b"rpush", key)
        return made.total
    size_before = ctx.db.begin_change(key)
    for text in texts:
        found.push(text, is_first, limits)
    ctx.db.end_change(found, size_before)
    ctx.notify(EVENT_LIST, b"lpush" if is_first else b"rpush", key)
    return found.total


def pop(ctx: Session, key: bytes, found: TextList, is_first: bool) -> bytes:
    """Take one element of an existing list, and the key with the last one."""
    text = take(ctx, key, found, is_first)
    notify_popped(ctx, key, found.total == 0, is_first)
    return text


def take(ctx: Session, key: bytes, found: TextList, is_first: bool) -> bytes:
    """Take one element like `pop`, but leave it to the caller to notify."""
    size_before = ctx.db.begin_change(key)
    text = found.pop(is_first)
    ctx.db.end_change(found, size_before)
    if found.total == 0:
        ctx.db.delete(key)
    return text


def notify_popped(ctx: Session, key: bytes, is_gone: bool, is_first: bool) -> None:
    """Notify that elements of a list were taken, and the key with them if none is left."""
    ctx.notify(EVENT_LIST, b"lpop" if is_first else b"rpop", key)
    if is_gone:
        ctx.notify(EVENT_GENERIC, b"del", key)


def pop_many(ctx: Session, key: bytes, found: TextList, count: int, is_first: bool) -> list[bytes]:
    """Take up to `count` elements of an existing list, and the key with the last one."""
    if count >= found.total:
        texts = found.slice(0, found.total)
        if not is_first:
            texts.reverse()
        ctx.db.delete(key)
        notify_popped(ctx, key, True, is_first)
        return texts
    size_before = ctx.db.begin_change(key)
    texts = found.pop_many(count, is_first)
    ctx.db.end_change(found, size_before)
    notify_popped(ctx, key, False, is_first)
    return texts


@command("LPUSH", "key element [element ...]", group=LIST, flags=WRITE | DENYOOM | FAST, use=RW | INSERT,
         since="1.0.0", complexity="O(N) for N elements",
         summary="Put elements before the first, making the list if there is none.")  # fmt: skip
def lpush(ctx: Session, argv: list[bytes]) -> Reply:
    return push(ctx, argv[1], argv[2:], True)


@command("RPUSH", "key element [element ...]", group=LIST, flags=WRITE | DENYOOM | FAST, use=RW | INSERT,
         since="1.0.0", complexity="O(N) for N elements",
         summary="Put elements behind the last, making the list if there is none.")  # fmt: skip
def rpush(ctx: Session, argv: list[bytes]) -> Reply:
    return push(ctx, argv[1], argv[2:], False)


@command("LPUSHX", "key element [element ...]", group=LIST, flags=WRITE | DENYOOM | FAST, use=RW | INSERT,
         since="2.2.0", complexity="O(N) for N elements",
         summary="Put elements before the first of a list that exists.")  # fmt: skip
def lpushx(ctx: Session, argv: list[bytes]) -> Reply:
    return 0 if writable_list(ctx, argv[1]) is None else push(ctx, argv[1], argv[2:], True)


@command("RPUSHX", "key element [element ...]", group=LIST, flags=WRITE | DENYOOM | FAST, use=RW | INSERT,
         since="2.2.0", complexity="O(N) for N elements",
         summary="Put elements behind the last of a list that exists.")  # fmt: skip
def rpushx(ctx: Session, argv: list[bytes]) -> Reply:
    return 0 if writable_list(ctx, argv[1]) is None else push(ctx, argv[1], argv[2:], False)


@command("LPOP", "key [count]", group=LIST, flags=WRITE | FAST, use=RW | ACCESS | DELETE, since="1.0.0",
         complexity="O(N) for N elements returned", summary="Take the first elements of a list.")  # fmt: skip
def lpop(ctx: Session, argv: list[bytes]) -> Reply:
    return _pop(ctx, argv, True)


@command("RPOP", "key [count]", group=LIST, flags=WRITE | FAST, use=RW | ACCESS | DELETE, since="1.0.0",
         complexity="O(N) for N elements returned", summary="Take the last elements of a list.")  # fmt: skip
def rpop(ctx: Session, argv: list[bytes]) -> Reply:
    return _pop(ctx, argv, False)


def _pop(ctx: Session, argv: list[bytes], is_first: bool) -> Reply:
    key = argv[1]
    if len(argv) == 2:
        found = writable_list(ctx, key)
        return None if found is None else pop(ctx, key, found, is_first)
    if len(argv) > 3:
        name = b"lpop" if is_first else b"rpop"
        raise CommandError(b"ERR wrong number of arguments for '%s' command" % name)
    count = Arguments(argv, 2).integer(NOT_POSITIVE)
    if count < 0:
        raise CommandError(NOT_POSITIVE)
    found = writable_list(ctx, key)
    if found is None:
        return NULL_ARRAY
    return list[Reply](pop_many(ctx, key, found, count, is_first)) if count else []


@command("LMOVE", "source:key destination:key <LEFT | RIGHT> <LEFT | RIGHT>", group=LIST,
         flags=WRITE | DENYOOM, use=(RW | ACCESS | DELETE, RW | INSERT), since="6.2.0", complexity="O(1)",
         summary="Take an element at one end of a list and push it to an end of another.")  # fmt: skip
def lmove(ctx: Session, argv: list[bytes]) -> Reply:
    arguments = Arguments(argv, 3)
    from_first = arguments.one_of_two(b"LEFT", b"RIGHT")
    to_first = arguments.one_of_two(b"LEFT", b"RIGHT")
    return move(ctx, argv[1], argv[2], from_first, to_first)


@command("RPOPLPUSH", "source:key destination:key", group=LIST, flags=WRITE | DENYOOM,
         use=(RW | ACCESS | DELETE, RW | INSERT), since="1.2.0", complexity="O(1)",
         summary="Take the last element of a list and push it before the first of another.")  # fmt: skip
def rpoplpush(ctx: Session, argv: list[bytes]) -> Reply:
    return move(ctx, argv[1], argv[2], False, True)


def move(ctx: Session, source_key: bytes, target_key: bytes, from_first: bool, to_first: bool) -> Reply:
    """Move one element between lists, which may be the same; None if there is none to move."""
    source = writable_list(ctx, source_key)
    if source is None:
        return None
    writable_list(ctx, target_key)  # of another type: refused before anything is taken
    if source_key == target_key:
        size_before = ctx.db.begin_change(source_key)
        text = source.pop(from_first)
        source.push(text, to_first, ctx.state.limits)
        ctx.db.end_change(source, size_before)
        ctx.notify(EVENT_LIST, b"lpush" if to_first else b"rpush", target_key)
        notify_popped(ctx, source_key, False, from_first)
        return text
    text = take(ctx, source_key, source, from_first)
    push(ctx, target_key, [text], to_first)
    notify_popped(ctx, source_key, source.total == 0, from_first)
    return text


@command("LMPOP", "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]", group=LIST, flags=WRITE,
         use=RW | ACCESS | DELETE, since="7.0.0", complexity="O(N+M) for N keys and M elements returned",
         summary="Take elements of the first list that has any.")  # fmt: skip
def lmpop(ctx: Session, argv: list[bytes]) -> Reply:
    keys, is_first, count = Arguments(argv, 1).keys_end_and_count(b"LEFT", b"RIGHT")
    for key in keys:
        found = writable_list(ctx, key)
        if found is not None:
            return pop_first_of_many(ctx, key, found, count, is_first)
    return NULL_ARRAY


def pop_first_of_many(ctx: Session, key: bytes, found: TextList, count: int, is_first: bool) -> Reply:
    """Take elements for LMPOP or BLMPOP; return key and elements."""
    texts = pop_many(ctx, key, found, count, is_first)
    ctx.rewrite([b"LPOP" if is_first else b"RPOP", key, b"%d" % len(texts)])
    elements: Reply = list[Reply](texts)
    return [key, elements]
