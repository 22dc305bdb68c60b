"""CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: how a client that caches keys is told of changes.

What these set up is done by `redoubt.tracking`. The dispatcher runs them.
Source: the CLIENT pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.commands.arguments import SYNTAX_ERROR, Arguments
from redoubt.commands.client import OWN
from redoubt.commands.declare import CONNECTION, command
from redoubt.resp.replies import OK, CommandError, ErrorReply, MapReply, Reply, SetReply
from redoubt.tracking import TrackingMode

if TYPE_CHECKING:
    from redoubt.session import Session


@command(
    "CLIENT TRACKING",
    "<ON | OFF> [REDIRECT client-id:integer] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN]"
    " [OPTOUT] [NOLOOP]",
    group=CONNECTION, flags=OWN, since="6.0.0", complexity="O(N) for N prefixes",
    summary="Tell this connection of changes of keys that it has read, or of all that begin alike.",
)  # fmt: skip
def client_tracking(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT TRACKING ON or OFF; the options of the latest ON hold, prefixes add up."""
    mode = TrackingMode()
    prefixes: list[bytes] = []
    arguments = Arguments(argv, 3)
    while arguments.has_more():
        _take_option(ctx, arguments, mode, prefixes)
    word = argv[2].upper()
    if word == b"ON":
        _refuse_contradictions(ctx, mode, prefixes)
        for prefix in prefixes:
            mode.prefixes[prefix] = None
        ctx.state.tracking.begin(ctx, mode)
    elif word == b"OFF":
        ctx.state.tracking.end(ctx)
    else:
        raise CommandError(SYNTAX_ERROR)
    return OK


def _take_option(ctx: Session, arguments: Arguments, mode: TrackingMode, prefixes: list[bytes]) -> None:
    if arguments.skip_with_value(b"REDIRECT"):
        if mode.redirect_id:
            raise CommandError(b"ERR A client can only redirect to a single other client")
        mode.redirect_id = arguments.integer()
        if mode.redirect_id not in ctx.state.sessions:
            raise CommandError(b"ERR The client ID you want redirect to does not exist")
    elif arguments.skip(b"BCAST"):
        mode.is_broadcast = True
    elif arguments.skip(b"OPTIN"):
        mode.is_opt_in = True
    elif arguments.skip(b"OPTOUT"):
        mode.is_opt_out = True
    elif arguments.skip(b"NOLOOP"):
        mode.ignores_own = True
    elif arguments.skip_with_value(b"PREFIX"):
        prefixes.append(arguments.word())
    else:
        raise arguments.syntax_error()


def _refuse_contradictions(ctx: Session, mode: TrackingMode, prefixes: list[bytes]) -> None:
    """Refuse options that do not go together, or not with how the client tracks already."""
    before = ctx.tracking
    if prefixes and not mode.is_broadcast:
        raise CommandError(b"ERR PREFIX option requires BCAST mode to be enabled")
    if before is not None and before.is_broadcast != mode.is_broadcast:
        raise CommandError(
            b"ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then "
            b"re-enabling it with a different mode."
        )
    if mode.is_broadcast and (mode.is_opt_in or mode.is_opt_out):
        raise CommandError(b"ERR OPTIN and OPTOUT are not compatible with BCAST")
    if mode.is_opt_in and mode.is_opt_out:
        raise CommandError(b"ERR You can't specify both OPTIN mode and OPTOUT mode")
    if before is not None and (
        (mode.is_opt_in and before.is_opt_out) or (mode.is_opt_out and before.is_opt_in)
    ):
        raise CommandError(
            b"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then "
            b"re-enabling it with a different mode."
        )
    if mode.is_broadcast:
        collision = ctx.state.tracking.collision(before, prefixes)
        if collision:
            raise CommandError(b"ERR %b. Prefixes for a single client must not overlap." % collision)


@command(
    "CLIENT CACHING", "<YES | NO>", group=CONNECTION, flags=OWN, since="6.0.0", complexity="O(1)",
    summary="Have the next command of this connection tracked (OPTIN) or not tracked (OPTOUT).",
)  # fmt: skip
def client_caching(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT CACHING."""
    mode = ctx.tracking
    if mode is None:
        return ErrorReply(
            b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT "
            b"mode enabled"
        )
    word = argv[2].upper()
    if word == b"YES":
        if not mode.is_opt_in:
            return ErrorReply(b"ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
    elif word == b"NO":
        if not mode.is_opt_out:
            return ErrorReply(b"ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
    else:
        raise CommandError(SYNTAX_ERROR)
    mode.is_exception = mode.is_exception_new = True
    return OK


@command(
    "CLIENT GETREDIR", group=CONNECTION, flags=OWN, since="6.0.0", complexity="O(1)",
    summary="Return the number of the connection that is told of changes instead of this one.",
)  # fmt: skip
def client_getredir(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT GETREDIR: 0 if this one is told, -1 if it does not track."""
    return -1 if ctx.tracking is None else ctx.tracking.redirect_id


@command(
    "CLIENT TRACKINGINFO", group=CONNECTION, flags=OWN, since="6.2.0", complexity="O(1)",
    summary="Describe how this connection is told of changes of keys.",
)  # fmt: skip
def client_trackinginfo(ctx: Session, argv: list[bytes]) -> Reply:
    """CLIENT TRACKINGINFO."""
    mode = ctx.tracking
    if mode is None:
        return MapReply([(b"flags", SetReply([b"off"])), (b"redirect", -1), (b"prefixes", [])])
    letters = (
        (b"on", True),
        (b"bcast", mode.is_broadcast),
        (b"optin", mode.is_opt_in),
        (b"caching-yes", mode.is_opt_in and mode.is_exception),
        (b"optout", mode.is_opt_out),
        (b"caching-no", mode.is_opt_out and mode.is_exception),
        (b"noloop", mode.ignores_own),
        (b"broken_redirect", mode.is_redirect_broken),
    )
    flags: list[Reply] = [name for name, is_set in letters if is_set]
    prefixes = sorted(mode.prefixes)
    return MapReply([(b"flags", SetReply(flags)), (b"redirect", mode.redirect_id), (b"prefixes", prefixes)])
