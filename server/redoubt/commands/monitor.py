"""MONITOR: be shown every command that this server runs.

What is shown is made by `redoubt.monitor`; RESET, or the end of the connection, ends it.
Source: the Redis command reference, group "server", as of 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.commands.declare import ADMIN, LOADING, NOSCRIPT, SERVER, STALE, command
from redoubt.resp.replies import NO_REPLY, OK, Reply

if TYPE_CHECKING:
    from redoubt.session import Session


@command("MONITOR", group=SERVER, flags=ADMIN | NOSCRIPT | LOADING | STALE, since="1.0.0", complexity="O(1)",
         summary="Show every command of every client as it runs.")  # fmt: skip
def monitor(ctx: Session, argv: list[bytes]) -> Reply:
    """MONITOR; who monitors already, or is a replica, gets no answer, as in Redis."""
    if ctx.is_monitor or ctx.is_replica:
        return NO_REPLY
    ctx.state.monitors.begin(ctx)
    return OK
