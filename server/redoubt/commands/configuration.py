"""CONFIG: reading and changing directives while the server runs.

What directives there are, how they are read and what follows a change is in `redoubt.config`; here are the
arguments, the patterns of CONFIG GET, and Redis's error texts. CONFIG SET changes all of its directives or
none.

The dispatcher runs these. Source: the CONFIG pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.connection import is_permitted
from redoubt.commands.declare import ADMIN, LOADING, NOSCRIPT, SERVER, STALE, all_rows, command, container
from redoubt.config import DIRECTIVES, ConfigError
from redoubt.data.glob import Glob
from redoubt.resp.replies import OK, ErrorReply, MapReply, Reply
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
