"""What was refused to users: the entries of ACL LOG and the counters of INFO.

The same refusal within a minute counts on its entry instead of making another, so that a client in a loop
does not push everything else out; only the ten latest entries are looked at for that. The length is bounded
by acllog-max-len. `redoubt.access.check` and AUTH write here, ACL LOG reads.
Source: the page of ACL LOG in the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.client_list import client_line
from redoubt.session import GATE_MULTI

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState

DENIED_COMMAND: Final = 1
DENIED_KEY: Final = 2
DENIED_CHANNEL: Final = 3
DENIED_AUTH: Final = 4
REASONS: Final = {
    DENIED_COMMAND: b"command",
    DENIED_KEY: b"key",
    DENIED_CHANNEL: b"channel",
    DENIED_AUTH: b"auth",
}
# Redis: the same refusal counts on an entry that is at most so old, among so many of the latest.
GROUPING_MS_MAX: Final = 60_000
GROUPING_ENTRIES_MAX: Final = 10

TOP_LEVEL: Final = b"toplevel"
IN_MULTI: Final = b"multi"
IN_SCRIPT: Final = b"lua"


class Denial:
    """One entry of ACL LOG."""

    def __init__(
        self,
        number: int,
        reason: int,
        context: bytes,
        what: bytes,
        username: bytes,
        now_ms: int,
        client: bytes,
    ) -> None:
        self.number = number
        self.reason = reason
        self.context = context
        self.what = what  # the command, key, or channel
        self.username = username
        self.created_ms = now_ms
        self.updated_ms = now_ms
        self.client = client
        self.count = 1

    def is_like(self, reason: int, context: bytes, what: bytes, username: bytes, now_ms: int) -> bool:
        """Say whether such a refusal would count on this entry."""
        return (
            self.reason == reason
            and self.context == context
            and now_ms - self.updated_ms <= GROUPING_MS_MAX
            and self.what == what
            and self.username == username
        )


class Denials:
    """The log, the latest first."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.entries: list[Denial] = []
        self.number_next = 0

    def note(
        self, ctx: Session, reason: int, what: bytes, username: bytes = b"", context: bytes = b""
    ) -> None:
        """Log and count a refusal; the user is the session's unless another is named."""
        statistics = self.state.statistics
        if reason == DENIED_AUTH:
            statistics.authentications_denied += 1
        elif reason == DENIED_COMMAND:
            statistics.acl_commands_denied += 1
        elif reason == DENIED_KEY:
            statistics.acl_keys_denied += 1
        else:
            statistics.acl_channels_denied += 1
        username = username or ctx.user.name
        context = context or (IN_MULTI if ctx.own_gates & GATE_MULTI else TOP_LEVEL)
        self._add(reason, context, what, username, client_line(ctx))

    def _add(self, reason: int, context: bytes, what: bytes, username: bytes, client: bytes) -> None:
        now_ms = self.state.now_ms
        for at, entry in enumerate(self.entries[:GROUPING_ENTRIES_MAX]):
            if entry.is_like(reason, context, what, username, now_ms):
                entry.client = client
                entry.updated_ms = now_ms
                entry.count += 1
                self.entries.insert(0, self.entries.pop(at))
                return
        self.entries.insert(0, Denial(self.number_next, reason, context, what, username, now_ms, client))
        self.number_next += 1
        del self.entries[self.state.config.acllog_max_len :]
