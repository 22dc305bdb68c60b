"""MONITOR: clients that are shown every command as it runs.

A line has the time, the database, who sent the command and its words, quoted. What is secret (passwords of
AUTH, HELLO and MIGRATE) is left out, and administrative commands are not shown at all. Commands of EXEC and
scripts come one by one; that of EXEC itself after them, since a command is shown when it has run.

The dispatcher shows commands from where it times them: while somebody monitors, every command is timed
(`Dispatcher.show_to`), so that nobody pays for this otherwise.
Source: the page on MONITOR of the Redis documentation; the form of the lines: Redis `src/replication.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.commands.declare import Row
    from redoubt.session import Session
    from redoubt.state import ServerState

_ESCAPES: Final = {
    ord("\\"): b"\\\\", ord('"'): b'\\"', ord("\n"): b"\\n", ord("\r"): b"\\r", ord("\t"): b"\\t",
    7: b"\\a", 8: b"\\b",
}  # fmt: skip
# One piece of text for each byte.
_SHOWN: Final[list[bytes]] = [
    _ESCAPES.get(byte, bytes((byte,)) if 0x20 <= byte < 0x7F else b"\\x%02x" % byte) for byte in range(256)
]
_REDACTED: Final = b"(redacted)"
# The words after which secrets stand, and how many, by command.
_SECRETS: Final[dict[str, dict[bytes, int]]] = {
    "hello": {b"AUTH": 2},
    "migrate": {b"AUTH": 1, b"AUTH2": 2},
}


class Monitors:
    """The clients of one server that monitor it."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.watching: dict[int, Session] = {}

    def begin(self, ctx: Session) -> None:
        """Show every command to this client from now on."""
        self.watching[ctx.session_id] = ctx
        ctx.is_monitor = True
        self.state.dispatcher.show_to(self)

    def end(self, ctx: Session) -> None:
        """Show nothing more: the client was reset or has gone."""
        if ctx.is_monitor:
            ctx.is_monitor = False
            del self.watching[ctx.session_id]
            if not self.watching:
                self.state.dispatcher.show_to(None)

    def show(self, ctx: Session, row: Row, argv: list[bytes]) -> None:
        """Show a command."""
        line = monitor_line(self.state.now_ms, ctx, row.name, argv)
        for session in self.watching.values():
            session.push(line)


def monitor_line(now_ms: int, ctx: Session, name: str, argv: list[bytes]) -> bytes:
    """Write a command as MONITOR shows it."""
    words = b" ".join([b'"%b"' % shown(word) for word in without_secrets(name, argv)])
    seconds, milliseconds = divmod(now_ms, 1000)
    who = (ctx.peer or "lua").encode()
    return b"+%d.%06d [%d %b] %b\r\n" % (seconds, milliseconds * 1000, ctx.database, who, words)


def shown(word: bytes) -> bytes:
    """Escape what is not printable, as Redis does."""
    return b"".join([_SHOWN[byte] for byte in word])


def without_secrets(name: str, argv: list[bytes]) -> list[bytes]:
    """Replace the passwords of a call."""
    if name == "auth":
        return [argv[0], *[_REDACTED] * (len(argv) - 1)]
    keywords = _SECRETS.get(name)
    if keywords is None:
        return argv
    words = list(argv)
    for at, word in enumerate(argv):
        count = keywords.get(word.upper(), 0) if at else 0
        if count and at + count < len(argv):
            words[at + 1 : at + 1 + count] = [_REDACTED] * count
            break
    return words
