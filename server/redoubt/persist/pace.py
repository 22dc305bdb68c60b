"""How soon the next slice of a long file follows the last one.

A slice holds the loop for some milliseconds. While nobody asks for anything the next one follows at once;
while clients do, they get most of the time: without that, a save of 60 MB under 5,000 commands per second
kept them waiting for up to 0.7 s.

Used by whatever writes the dataset in slices: background saves and rewrites of the append-only file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.state import ServerState

IDLE_PAUSE_MS: Final = 1
BUSY_PAUSE_MS: Final = 6


class Pace:
    """The pace of one file."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.due_ms = 0
        self._commands = state.statistics.commands_processed

    def is_due(self) -> bool:
        """Say whether it is time for the next slice, and if so, plan the one after it."""
        now_ms = self.state.now_ms
        if now_ms < self.due_ms:
            return False
        commands = self.state.statistics.commands_processed
        is_busy = commands != self._commands
        self._commands = commands
        self.due_ms = now_ms + (BUSY_PAUSE_MS if is_busy else IDLE_PAUSE_MS)
        return True
