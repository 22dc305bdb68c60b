"""The limits that clients live under as connections: how many, from where, how long idle, how much unsent.

What a client may send is limited by the parser and the dispatcher; here is what limits its existence. The
output limits (client-output-buffer-limit: a hard one at once, a soft one after some seconds) hold for each
class of clients and are looked at when the kernel did not take everything, and at each round. A round visits
every client once a second, in slices, so that ten thousand idle clients cost nothing that is noticed.

The node calls it. It runs no command and owns no socket. Rules: the documentation of maxclients, timeout,
protected-mode and client-output-buffer-limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.client_memory import ClientMemory
from redoubt.session import CLASS_NORMAL, CLASS_PUBSUB, CLASS_REPLICA, Session

if TYPE_CHECKING:
    from redoubt.state import ServerState

TICKS_PER_ROUND: Final = 10  # ticks come every 100 ms
VISITS_MIN: Final = 50  # so few clients are all visited at every tick
CLASS_NAMES: Final = {CLASS_NORMAL: "normal", CLASS_REPLICA: "replica", CLASS_PUBSUB: "pubsub"}
TOO_MANY: Final = b"-ERR max number of clients reached\r\n"
PROTECTED: Final = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set "
    b"for the default user. In this mode connections are only accepted from the loopback interface. Set a "
    b"password (requirepass), bind only trusted addresses, or start with --protected-mode no.\r\n"
)


class Clients:
    """Keeps the clients of one server within their limits."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.round: list[Session] = []
        self.memory = ClientMemory(state)

    def refusal(self, peer: str) -> bytes:
        """Return what a new connection is told before it is closed; empty if it is welcome."""
        config = self.state.config
        if len(self.state.sessions) >= config.maxclients:
            return TOO_MANY
        if config.protected_mode and self.state.users.default.is_nopass and not is_local(peer):
            return PROTECTED
        return b""

    def tick(self, now_ms: int) -> None:
        """Visit the next slice of clients."""
        if not self.round:
            self.round = list(self.state.sessions.values())
        visits = max(len(self.state.sessions) // TICKS_PER_ROUND + 1, VISITS_MIN)
        while visits > 0 and self.round:
            visits -= 1
            session = self.round.pop()
            if not session.is_closed:
                self.close_idle(session, now_ms)
                self.check_output(session, now_ms)
                self.memory.measure(session)
        self.memory.evict()

    def close_idle(self, session: Session, now_ms: int) -> None:
        """Close a client that has said nothing for `timeout` seconds; those that wait are not idle."""
        timeout_ms = self.state.config.timeout * 1000
        is_exempt = (
            session.is_blocked
            or session.is_master_link
            or session.is_monitor
            or session.client_class != CLASS_NORMAL
        )
        if timeout_ms > 0 and not is_exempt and now_ms - session.active_ms > timeout_ms:
            self.state.close(session)

    def check_output(self, session: Session, now_ms: int) -> None:
        """Close a client whose unsent output is over the limit of its class."""
        if session.unsent_bytes > session.counted_bytes:
            self.memory.measure(session)
            self.memory.evict()
        limit = self.state.config.client_output_buffer_limit[CLASS_NAMES[session.client_class]]
        unsent = session.unsent_bytes
        is_over = 0 < limit.hard_bytes < unsent
        if 0 < limit.soft_bytes < unsent:
            if session.over_soft_limit_since_ms == 0:
                session.over_soft_limit_since_ms = now_ms
            elif now_ms - session.over_soft_limit_since_ms > limit.soft_seconds * 1000:
                is_over = True
        else:
            session.over_soft_limit_since_ms = 0
        if is_over and not session.is_closed:
            self.state.statistics.output_limit_disconnections += 1
            self.state.close(session)


def is_local(peer: str) -> bool:
    """Say whether a peer ("host:port", or the path of a Unix socket) is on this machine."""
    return peer.startswith(("127.", "[::1]", "/")) or peer == ""
