"""CONFIG: reading and changing directives while the server runs.

What directives there are, how they are read and what follows a change is in `redoubt.config`; here are the
arguments, the patterns of CONFIG GET, and Redis's error texts. CONFIG SET changes all of its directives or
none.

The dispatcher runs these. Source: the CONFIG pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.blocking import Waiter
from redoubt.commands.connection import is_permitted
from redoubt.commands.declare import ADMIN, LOADING, NOSCRIPT, SERVER, STALE, all_rows, command, container
from redoubt.config import DIRECTIVES, ConfigError
from redoubt.config_rewrite import rewritten
from redoubt.data.glob import Glob
from redoubt.interfaces import FileJob, SaveFile
from redoubt.resp.replies import NO_REPLY, OK, ErrorReply, MapReply, Reply
from redoubt.state import Statistics

if TYPE_CHECKING:
    from redoubt.session import Session

MANAGEMENT: Final = ADMIN | NOSCRIPT | LOADING | STALE

container("CONFIG", group=SERVER, since="2.0.0", summary="Read and change the configuration.")


@command(
    "CONFIG GET", "parameter [parameter ...]", group=SERVER, flags=MANAGEMENT, since="2.0.0",
    complexity="O(N) for N patterns", summary="Return directives that fit the patterns, with their values.",
)  # fmt: skip
def config_get(ctx: Session, argv: list[bytes]) -> Reply:
    """CONFIG GET: each directive once, in the order of the table."""
    patterns = [Glob(word, ignores_case=True) for word in argv[2:]]
    names = [name for name in DIRECTIVES if any(pattern.matches(name.encode()) for pattern in patterns)]
    return MapReply([(name.encode(), _encoded(ctx.state.config.show(name))) for name in names])


@command(
    "CONFIG SET", "parameter value [parameter value ...]", group=SERVER, flags=MANAGEMENT, since="2.0.0",
    complexity="O(N) for N directives", summary="Change directives, all of them or none.",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)  # fmt: skip
def config_set(ctx: Session, argv: list[bytes]) -> Reply:
    """CONFIG SET."""
    if len(argv) % 2:
        return ErrorReply(b"ERR wrong number of arguments for 'config|set' command")
    pairs: list[tuple[str, list[str]]] = []
    seen: set[str] = set()
    for at in range(2, len(argv), 2):
        name = argv[at].decode("utf-8", "surrogateescape").lower()
        directive = DIRECTIVES.get(name)
        if directive is None:
            text = b"ERR Unknown option or number of arguments for CONFIG SET - '%s'"
            return ErrorReply(text % argv[at][:128].replace(b"\r", b" ").replace(b"\n", b" "))
        if directive.name in seen:
            return _failed(name, "duplicate parameter")
        if directive.is_protected and not is_permitted(ctx, ctx.state.config.enable_protected_configs):
            return _failed(name, "can't set protected config")
        seen.add(directive.name)
        pairs.append((name, directive.kind.split(argv[at + 1].decode("utf-8", "surrogateescape"))))
    try:
        ctx.state.config.assign(pairs)
    except ConfigError as error:
        return _failed(error.name, error.text)
    return OK


def _failed(name: str, reason: str) -> ErrorReply:
    text = f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    return ErrorReply(_encoded(text).replace(b"\r", b" ").replace(b"\n", b" "))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Rewriting(FileJob):
    """Answers who asked for a CONFIG REWRITE once the file stands."""

    def __init__(self, ctx: Session, waiter: Waiter) -> None:
        self.ctx = ctx
        self.waiter = waiter

    def done(self, error: str, now_ms: int) -> None:
        """Answer, if the client is still there."""
        if self.ctx.waiter is self.waiter:
            reply = _not_rewritten(error) if error else OK
            self.ctx.state.blocking.unblock(self.ctx, reply)


@command(
    "CONFIG REWRITE", group=SERVER, flags=MANAGEMENT, since="2.8.0", complexity="O(1)",
    summary="Write the values now in force into the configuration file, keeping everything else of it.",
)  # fmt: skip
def config_rewrite(ctx: Session, argv: list[bytes]) -> Reply:
    """CONFIG REWRITE."""
    config = ctx.state.config
    if not config.file_path:
        return ErrorReply(b"ERR The server is running without a config file")
    try:
        before = config.read_text(config.file_path)
    except FileNotFoundError:
        before = ""  # Redis makes it anew
    except (OSError, UnicodeDecodeError) as error:
        return _not_rewritten(getattr(error, "strerror", None) or str(error))
    users = [] if config.aclfile else ctx.state.users.configured_lines()
    text = rewritten(before, config, ctx.state.replication.master_address(), users)
    waiter = Waiter(0)
    ctx.state.blocking.block(ctx, waiter)
    chunks = [text.encode("utf-8", "surrogateescape")]
    ctx.state.effects.append(SaveFile(_Rewriting(ctx, waiter), config.file_path, chunks))
    return NO_REPLY


def _not_rewritten(reason: str) -> ErrorReply:
    return ErrorReply(b"ERR Rewriting config file: " + _encoded(reason))


@command(
    "CONFIG RESETSTAT", group=SERVER, flags=MANAGEMENT, since="2.0.0", complexity="O(1)",
    summary="Let the counters of INFO begin at zero again.",
)  # fmt: skip
def config_resetstat(ctx: Session, argv: list[bytes]) -> Reply:
    """CONFIG RESETSTAT: the object stays, since the runtime counts in it, too."""
    fresh = Statistics()
    for name in dir(fresh):
        if not name.startswith("_"):
            setattr(ctx.state.statistics, name, getattr(fresh, name))
    for row in all_rows():
        row.reset_statistics()
    ctx.state.dispatcher.reset_meter()
    return OK
