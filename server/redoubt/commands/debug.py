"""DEBUG: what tests and people who look for errors need, and nobody else.

Whether DEBUG may be used at all is said by enable-debug-command. Only subcommands that do here what they do
in Redis exist: SLEEP, OBJECT, SET-ACTIVE-EXPIRE, ERROR, LOG and PROTOCOL.

The dispatcher runs it. Source: DEBUG HELP of Redis; its subcommands are not documented elsewhere.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import number
from redoubt.commands.connection import is_permitted
from redoubt.commands.declare import ADMIN, LOADING, NOSCRIPT, SERVER, STALE, command
from redoubt.data.text import encoding_name
from redoubt.interfaces import Sleep
from redoubt.persist.rdb_types import WRITERS
from redoubt.resp.replies import (
    OK,
    BigNumber,
    Boolean,
    Double,
    ErrorReply,
    MapReply,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
)

if TYPE_CHECKING:
    from redoubt.session import Session

log = logging.getLogger("redoubt")

NOT_ALLOWED: Final = ErrorReply(
    b'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it '
    b"from a local connection, otherwise you need to set this option in the configuration file, and then "
    b"restart the server."
)
NO_SUCH_KEY: Final = ErrorReply(b"ERR no such key")
SLEEP_MS_MAX: Final = 3_600_000
HELP: Final = (
    b"DEBUG <subcommand> [<argument> ...]. Subcommands are:",
    b"ERROR <text>",
    b"    Answer with this error.",
    b"HELP",
    b"    Print this help.",
    b"LOG <message>",
    b"    Write the message to the log.",
    b"OBJECT <key>",
    b"    Show how the value of the key is stored.",
    b"PROTOCOL <type>",
    b"    Answer with a reply of this type.",
    b"SET-ACTIVE-EXPIRE <0|1>",
    b"    Stop or resume the search for expired keys that nobody asks for.",
    b"SLEEP <seconds>",
    b"    Stop the whole server for some time.",
)
PROTOCOL_SAMPLES: Final[dict[bytes, Reply]] = {
    b"string": b"Hello World",
    b"integer": 12345,
    b"double": Double(3.141),
    b"bignum": BigNumber(1234567999999999999999999999999999999),
    b"null": None,
    b"array": [0, 1, 2],
    b"set": SetReply([0, 1, 2]),
    b"map": MapReply([(0, Boolean(False)), (1, Boolean(True)), (2, Boolean(False))]),
    b"verbatim": Verbatim(b"This is a verbatim\nstring"),
    b"true": Boolean(True),
    b"false": Boolean(False),
}


@command(
    "DEBUG", "subcommand [argument [argument ...]]", group=SERVER,
    flags=ADMIN | NOSCRIPT | LOADING | STALE, since="1.0.0", complexity="Depends on subcommand.",
    summary="Inspect and disturb the server, for tests.",
)  # fmt: skip
def debug(ctx: Session, argv: list[bytes]) -> Reply:
    """DEBUG."""
    if not is_permitted(ctx, ctx.state.config.enable_debug_command):
        return NOT_ALLOWED
    subcommand = argv[1].lower()
    if subcommand == b"help" and len(argv) == 2:
        return [SimpleString(line) for line in HELP]
    if len(argv) == 3:
        if subcommand == b"sleep":
            return _sleep(ctx, argv[2])
        if subcommand == b"object":
            return _object(ctx, argv[2])
        if subcommand == b"set-active-expire":
            ctx.state.upkeep.is_expiring = argv[2] != b"0"
            return OK
        if subcommand == b"error":
            return ErrorReply(argv[2].replace(b"\r", b" ").replace(b"\n", b" "))
        if subcommand == b"log":
            log.warning("DEBUG LOG: %s", argv[2].decode("utf-8", "backslashreplace"))
            return OK
        if subcommand == b"protocol":
            return _protocol(argv[2].lower())
    text = b"ERR unknown subcommand or wrong number of arguments for '%s'. Try DEBUG HELP."
    return ErrorReply(text % argv[1][:128].replace(b"\r", b" ").replace(b"\n", b" "))


def _sleep(ctx: Session, word: bytes) -> Reply:
    """Have the loop stand still before this turn's replies are written."""
    ctx.state.effects.append(Sleep(max(min(int(number(word) * 1000), SLEEP_MS_MAX), 0)))
    return OK


def _object(ctx: Session, key: bytes) -> Reply:
    """Describe a value; `lru` is of its bucket, and addresses say nothing here."""
    value = ctx.db.peek(key, ctx.now_ms)
    bucket = ctx.db.bucket_of(key)
    if value is None or bucket is None:
        return NO_SUCH_KEY
    written: list[bytes] = []
    WRITERS[type(value)].write(value, ctx.state.config.rdbcompression, written)
    touched_ms = bucket.touched_ms or ctx.now_ms
    return SimpleString(
        b"Value at:0x0 refcount:1 encoding:%s serializedlength:%d lru:%d lru_seconds_idle:%d"
        % (
            encoding_name(value),
            sum(map(len, written)),
            touched_ms // 1000 & 0xFFFFFF,
            max(ctx.now_ms - touched_ms, 0) // 1000,
        )
    )


def _protocol(kind: bytes) -> Reply:
    if kind not in PROTOCOL_SAMPLES:
        return ErrorReply(
            b"ERR Wrong protocol type name. Please use one of the following: " + b"|".join(PROTOCOL_SAMPLES)
        )
    return PROTOCOL_SAMPLES[kind]
