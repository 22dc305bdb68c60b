"""MIGRATE: its arguments, its refusals, and which keys there are to carry; the rest is `key_transfer`.

    MIGRATE host port key|"" destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password]
            [KEYS key [key ...]]

Either one key stands in its place, or that place is empty and the keys follow the word KEYS, so the keys of
a call are found by `migrate_keys` and not by the key specifications alone, which are Redis's all the same.

Registered at import; called by the dispatcher. Source: the Redis command reference, MIGRATE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer
from redoubt.commands.declare import (
    ACCESS,
    DELETE,
    GENERIC,
    INCOMPLETE,
    RW,
    WRITE,
    KeySpec,
    command,
)
from redoubt.commands.key_transfer import NOT_WRITTEN, Target, Transfer
from redoubt.commands.reading import read
from redoubt.resp.replies import NO_REPLY, CommandError, Reply, SimpleString

if TYPE_CHECKING:
    from redoubt.session import Session

NO_KEY: Final = SimpleString(b"NOKEY")
KEY_AND_KEYS: Final = b"ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
TIMEOUT_DEFAULT_MS: Final = 1000
PORT_MAX: Final = 65535
FIRST_OPTION: Final = 6
# How many words follow an option; KEYS takes all that are left.
WORDS_AFTER: Final = {b"COPY": 0, b"REPLACE": 0, b"AUTH": 1, b"AUTH2": 2}


def migrate_keys(argv: list[bytes]) -> list[bytes] | None:
    """List the keys of a call; none where both forms are mixed, which the handler refuses."""
    at = FIRST_OPTION
    while at < len(argv):
        word = argv[at].upper()
        if word == b"KEYS":
            return [] if argv[3] else argv[at + 1 :]
        at += 1 + WORDS_AFTER.get(word, 0)
    return [argv[3]]


class MigrateOptions:
    """What stands behind the timeout."""

    def __init__(self, argv: list[bytes]) -> None:
        """Read argv[6:]; raises CommandError."""
        self.is_copy = False
        self.is_replacing = False
        self.credentials: list[bytes] = []
        self.keys = [argv[3]]
        arguments = Arguments(argv, FIRST_OPTION)
        while arguments.has_more():
            word = arguments.keyword()
            if word == b"COPY":
                self.is_copy = True
            elif word == b"REPLACE":
                self.is_replacing = True
            elif word == b"AUTH":
                self.credentials = [arguments.word()]
            elif word == b"AUTH2":
                self.credentials = [arguments.word(), arguments.word()]
            elif word == b"KEYS":
                if argv[3]:
                    raise CommandError(KEY_AND_KEYS)
                self.keys = arguments.rest()
            else:
                raise arguments.syntax_error()


@command("MIGRATE",
         'host port <key | ""> destination-db:integer timeout:integer [COPY] [REPLACE]'
         " [AUTH password | AUTH2 (username password)] [KEYS key [key ...]]",
         group=GENERIC, flags=WRITE, use=RW | ACCESS | DELETE, since="2.6.0", complexity="O(N) for N bytes",
         categories=("keyspace", "dangerous"), find_keys=migrate_keys,
         key_specs=[KeySpec(RW | ACCESS | DELETE, index=3),
                    KeySpec(RW | ACCESS | DELETE | INCOMPLETE, keyword="KEYS", start_from=-2, last=-1)],
         summary="Move keys to another server, or copy them.",
         tips=("nondeterministic_output",))  # fmt: skip
def migrate(ctx: Session, argv: list[bytes]) -> Reply:
    options = MigrateOptions(argv)
    timeout_ms = integer(argv[5])
    database = integer(argv[4])
    keys = [key for key in dict.fromkeys(options.keys) if read(ctx, key) is not None]
    if not keys:
        return NO_KEY
    try:
        port = integer(argv[2])
    except CommandError:
        port = 0
    if not 0 < port <= PORT_MAX:
        return NOT_WRITTEN  # Redis reads 0 and is refused
    target = Target(argv[1].decode(errors="replace"), port, database, options.credentials)
    transfer = Transfer(ctx, target, keys, timeout_ms if timeout_ms > 0 else TIMEOUT_DEFAULT_MS)
    transfer.is_copy = options.is_copy
    transfer.is_replacing = options.is_replacing
    ctx.state.transfers.begin(ctx, transfer)
    return NO_REPLY
