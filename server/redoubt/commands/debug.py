"""DEBUG: what tests and people who look for errors need, and nobody else.

Whether DEBUG may be used at all is said by enable-debug-command. Only subcommands that do here what they do
in Redis exist: SLEEP, OBJECT, SET-ACTIVE-EXPIRE, ERROR, LOG, PROTOCOL, DIGEST, DIGEST-VALUE and RELOAD.

The dispatcher runs it. Source: DEBUG HELP of Redis; its subcommands are not documented elsewhere.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.blocking import Waiter
from redoubt.commands.arguments import number
from redoubt.commands.connection import is_permitted
from redoubt.commands.declare import ADMIN, LOADING, NOSCRIPT, SERVER, STALE, command
from redoubt.data.digest import DIGEST_BYTES, dataset_digest, value_digest
from redoubt.data.text import encoding_name
from redoubt.interfaces import FileJob, Sleep
from redoubt.persist.dump_file import DumpFile
from redoubt.persist.rdb_types import WRITERS
from redoubt.persist.reload import Reload
from redoubt.resp.replies import (
    NO_REPLY,
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
NOT_RELOADED: Final = ErrorReply(b"ERR Error trying to load the RDB dump")
NO_SUCH_KEY: Final = ErrorReply(b"ERR no such key")
SLEEP_MS_MAX: Final = 3_600_000
HELP: Final = (
    b"DEBUG <subcommand> [<argument> ...]. Subcommands are:",
    b"DIGEST",
    b"    Show a digest of the dataset, the same as Redis's for the same data.",
    b"DIGEST-VALUE <key> [<key> ...]",
    b"    Show the digest of the value of each key.",
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
    b"RELOAD [option ...]",
    b"    Save the dataset and load it again. Options:",
    b"    * MERGE: keep the dataset, and let the keys of the file replace their namesakes.",
    b"    * NOFLUSH: keep the dataset.",
    b"    * NOSAVE: load the file as it is.",
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
    if subcommand == b"digest" and len(argv) == 2:
        return SimpleString(dataset_digest(ctx.state.keyspaces))
    if subcommand == b"digest-value" and len(argv) >= 2:
        return [_value_digest(ctx, key) for key in argv[2:]]
    if subcommand == b"reload":
        return _reload(ctx, argv[2:])
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


def _value_digest(ctx: Session, key: bytes) -> SimpleString:
    value = ctx.db.peek(key, ctx.now_ms)
    if value is None:
        return SimpleString(b"0" * (2 * DIGEST_BYTES))
    return SimpleString(value_digest(value, ctx.db.expire_at(key) > 0))


class _Reloaded(FileJob):
    """Answers DEBUG RELOAD."""

    def __init__(self, ctx: Session) -> None:
        self.ctx = ctx

    def done(self, error: str, now_ms: int) -> None:
        """Answer the client, if it is still there."""
        if error:
            log.warning("DEBUG RELOAD: %s", error)
        if self.ctx.is_blocked and not self.ctx.is_closed:
            self.ctx.state.blocking.unblock(self.ctx, NOT_RELOADED if error else OK)


def _reload(ctx: Session, options: list[bytes]) -> Reply:
    words = [option.lower() for option in options]
    if any(word not in (b"merge", b"noflush", b"nosave") for word in words):
        return ErrorReply(b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    if ctx.is_atomic:
        return ErrorReply(b"ERR DEBUG RELOAD is not allowed in transactions and scripts")
    dump = ctx.state.persistence
    assert isinstance(dump, DumpFile)
    reload = Reload(dump, _Reloaded(ctx), b"merge" in words or b"noflush" in words)
    ctx.state.blocking.block(ctx, Waiter(0))
    if b"nosave" in words:
        reload.load()
    else:
        dump.save(reload, ctx.now_ms)
    return NO_REPLY


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
