"""When nodes.conf is written: once a loop turn at most, and durably before anything of that turn is sent.

Parts that change what must survive a restart call `mark`; the cluster object calls `flush` after every
event. A vote, a raised epoch and a lease are `is_urgent`: their file is synced before the message leaves,
which the order of effects and flushes within a turn guarantees. If the file cannot be written the messages
of that turn are dropped and the process ends, as Redis does: a voter that forgets its vote could vote twice.
"""

from __future__ import annotations

import logging

from redoubt.cluster import nodes_conf
from redoubt.cluster.bus import Bus
from redoubt.interfaces import Exit, FileJob, SaveFile
from redoubt.state import ServerState

log = logging.getLogger("redoubt")


class ConfigFile(FileJob):
    """The file of one node's map."""

    def __init__(self, state: ServerState, bus: Bus) -> None:
        self._state = state
        self._bus = bus
        self._is_dirty = False
        self._is_urgent = False
        self._pending: SaveFile | None = None
        self.path = state.config.cluster_config_file
        # The reason of the last failed write, empty if it succeeded.
        self.error = ""

    def mark(self, is_urgent: bool = False) -> None:
        """Have the map written at the end of this event; urgent: synced before anything is sent."""
        self._is_dirty = True
        self._is_urgent = self._is_urgent or is_urgent

    def flush(self) -> None:
        """Ask for the write if something changed; one that still waits in this turn is updated."""
        if not self._is_dirty:
            return
        self._is_dirty = False
        chunks = [nodes_conf.render(self._bus.topology)]
        pending = self._pending
        if pending is not None and any(effect is pending for effect in self._state.effects):
            pending.chunks = chunks
            pending.is_synced = pending.is_synced or self._is_urgent
        else:
            pending = SaveFile(self, self.path, chunks, self._is_urgent)
            self._pending = pending
            self._state.effects.append(pending)
        self._is_urgent = False

    def done(self, error: str, now_ms: int) -> None:
        self.error = error
        if error:
            log.critical("The cluster configuration cannot be written to %s: %s. Exiting.", self.path, error)
            self._bus.drop_unsent()
            self._state.effects.append(Exit(1))
