"""The slow log: the latest commands that ran longer than slowlog-log-slower-than, as SLOWLOG GET shows them.

An entry keeps at most 32 words of the call and 128 bytes of each, so that a call of a gigabyte does not live
on in the log; passwords are replaced. Numbers go on counting after SLOWLOG RESET. The length is bounded by
slowlog-max-len.

`redoubt.slow_commands` writes here, the SLOWLOG commands read. Nothing is persisted or replicated.
Source: the SLOWLOG pages of the Redis documentation.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState

# Redis: SLOWLOG_ENTRY_MAX_ARGC, SLOWLOG_ENTRY_MAX_STRING.
WORDS_MAX: Final = 32
WORD_BYTES_MAX: Final = 128
REDACTED: Final = b"(redacted)"
# Directives whose values are secrets.
_SECRET_DIRECTIVES: Final = (b"requirepass", b"masterauth", b"masteruser")


class SlowEntry:
    """One slow command."""

    def __init__(self, number: int, now_ms: int, duration_us: int, words: list[bytes], ctx: Session) -> None:
        self.number = number
        self.started_s = now_ms // 1000
        self.duration_us = duration_us
        self.words = words
        self.peer = ctx.peer.encode("latin-1", "replace")
        self.client_name = ctx.name


class SlowLog:
    """The entries, the latest first."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.entries: deque[SlowEntry] = deque()
        self.number_next = 0

    def add(self, ctx: Session, argv: list[bytes], duration_us: int) -> None:
        """Log a command that was slow."""
        words = shortened(redacted(argv))
        self.entries.appendleft(SlowEntry(self.number_next, self.state.now_ms, duration_us, words, ctx))
        self.number_next += 1
        length_max = self.state.config.slowlog_max_len
        while len(self.entries) > length_max:
            self.entries.pop()


def shortened(argv: list[bytes]) -> list[bytes]:
    """Keep the beginning of a call, and say how much is missing as Redis does."""
    kept = argv if len(argv) <= WORDS_MAX else argv[: WORDS_MAX - 1]
    words = [
        word
        if len(word) <= WORD_BYTES_MAX
        else b"%s... (%d more bytes)" % (word[:WORD_BYTES_MAX], len(word) - WORD_BYTES_MAX)
        for word in kept
    ]
    if len(argv) > WORDS_MAX:
        words.append(b"... (%d more arguments)" % (len(argv) - WORDS_MAX + 1))
    return words


def redacted(argv: list[bytes]) -> list[bytes]:
    """Replace what must not be shown to others: passwords, and the rules of users."""
    name = argv[0].lower()
    hidden: list[int] = []
    if name == b"auth":
        hidden = list(range(1, len(argv)))
    elif name == b"acl" and len(argv) > 2 and argv[1].lower() == b"setuser":
        hidden = list(range(2, len(argv)))
    elif name == b"config" and len(argv) > 3 and argv[1].lower() == b"set":
        hidden = [at + 1 for at in range(2, len(argv) - 1, 2) if argv[at].lower() in _SECRET_DIRECTIVES]
    elif name in (b"hello", b"migrate"):
        words = [word.lower() for word in argv]
        for at, word in enumerate(words[1:], 1):
            if word in (b"auth", b"auth2"):
                count = 2 if name == b"hello" or word == b"auth2" else 1
                hidden = list(range(at + 1, min(at + 1 + count, len(argv))))
    if not hidden:
        return argv
    shown = list(argv)
    for at in hidden:
        shown[at] = REDACTED
    return shown
