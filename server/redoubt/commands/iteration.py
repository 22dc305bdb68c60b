"""Walking through the keys of a database: SCAN, KEYS, RANDOMKEY.

SCAN's guarantee (a key that stays from beginning to end is returned at least once) comes from the keyspace's
cursor; here the keys are filtered. Expired keys are never returned.

Source: the Redis command reference, "Scan guarantees".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import GENERIC, READONLY, command
from redoubt.data.glob import Glob
from redoubt.data.random_key import random_key
from redoubt.data.text import type_name
from redoubt.resp.replies import CommandError, Reply

if TYPE_CHECKING:
    from redoubt.session import Session

SCAN_COUNT: Final = 10  # Redis's default
# A database of nothing but keys that have expired but may not be deleted (a replica's) has no good answer.
RANDOM_KEY_TRIES_MAX: Final = 100
# What C's strtoul takes as a whole number; beyond 64 bits it reports an error.
_CURSOR: Final = re.compile(rb"(?:[+-]?\d+)?\Z")
_CURSOR_PAST: Final = 1 << 64


class ScanOptions:
    """What stands behind the cursor of SCAN, HSCAN, SSCAN or ZSCAN; `type_name` is SCAN's own."""

    def __init__(self) -> None:
        self.count = SCAN_COUNT
        self.glob: Glob | None = None
        self.type_name = b""
        # HSCAN: fields without their values.
        self.is_bare = False

    def takes(self, word: bytes) -> bool:
        """Say whether a key, field or member is asked for."""
        return self.glob is None or self.glob.matches(word)


def parse_cursor(word: bytes) -> int:
    """Parse a cursor as Redis does; raises CommandError."""
    if not _CURSOR.match(word) or len(word) > 4000:
        raise CommandError(b"ERR invalid cursor")
    cursor = int(word or b"0")
    if abs(cursor) >= _CURSOR_PAST:
        raise CommandError(b"ERR invalid cursor")
    return cursor % _CURSOR_PAST


def parse_scan_options(arguments: Arguments, own: bytes = b"") -> ScanOptions:
    """Parse the options; `own`: the one that only this command has (TYPE, NOVALUES)."""
    options = ScanOptions()
    while arguments.has_more():
        if arguments.skip_with_value(b"COUNT"):
            options.count = arguments.integer()
            if options.count < 1:
                raise arguments.syntax_error()
        elif arguments.skip_with_value(b"MATCH"):
            options.glob = Glob(arguments.word())
        elif own == b"TYPE" and arguments.skip_with_value(own):
            options.type_name = arguments.word().lower()
        elif own == b"NOVALUES" and arguments.skip(own):
            options.is_bare = True
        else:
            raise arguments.syntax_error()
    return options


@command("SCAN", "cursor [MATCH pattern] [COUNT count] [TYPE type]", group=GENERIC, flags=READONLY,
         since="2.8.0", complexity="O(1) per call, O(N) for a whole iteration over N keys",
         summary="Iterate over the keys of the database.",
         tips=("nondeterministic_output", "request_policy:special"))  # fmt: skip
def scan(ctx: Session, argv: list[bytes]) -> Reply:
    cursor = parse_cursor(argv[1])
    options = parse_scan_options(Arguments(argv, 2), b"TYPE")
    cursor, keys = ctx.db.scan(cursor, options.count)
    found: list[bytes] = []
    for key in keys:
        if not options.takes(key):
            continue
        value = ctx.db.peek(key, ctx.now_ms)
        if value is not None and options.type_name in (b"", type_name(value)):
            found.append(key)
    return [b"%d" % cursor, found]


@command("KEYS", "pattern", group=GENERIC, flags=READONLY, since="1.0.0", complexity="O(N) for N keys",
         summary="Return all keys that match a pattern.", categories=("keyspace", "dangerous"),
         tips=("request_policy:all_shards", "nondeterministic_output_order"))  # fmt: skip
def keys(ctx: Session, argv: list[bytes]) -> Reply:
    glob = Glob(argv[1])
    found = ctx.db.all_keys()
    if not glob.is_everything:
        found = [key for key in found if glob.matches(key)]
    if ctx.db.expiring_count == 0:
        return found
    return [key for key in found if ctx.db.peek(key, ctx.now_ms) is not None]


@command("RANDOMKEY", group=GENERIC, flags=READONLY, since="1.0.0", complexity="O(1)",
         summary="Return a random key.",
         tips=("request_policy:all_shards", "nondeterministic_output"))  # fmt: skip
def randomkey(ctx: Session, argv: list[bytes]) -> Reply:
    for _ in range(RANDOM_KEY_TRIES_MAX):
        key = random_key(ctx.db)
        if key is None or ctx.db.peek(key, ctx.now_ms) is not None:
            return key
    return random_key(ctx.db)
