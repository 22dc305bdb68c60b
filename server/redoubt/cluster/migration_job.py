"""One slot migration as people see it: what moves from where to where, how far it is, how it ended.

Every migration has a job on its source (EXPORT), one on its target (IMPORT), and one on each replica of the
target, which holds the same hidden keys. The names of fields and states are Valkey's, so that its tools read
our answers. Finished jobs stay in a log of bounded length (cluster-slot-migration-log-max-len).

The parts that do the work (`migration_export`, `migration_import`) change their job; `migration.py` keeps the
log and CLUSTER GETSLOTMIGRATIONS prints it. Source: the documentation of Valkey 9, CLUSTER GETSLOTMIGRATIONS.
"""

from __future__ import annotations

import logging
from typing import Final

from redoubt.cluster.slots import SlotRange, mask_of_ranges, ranges_of
from redoubt.resp.replies import MapReply, Reply

EXPORT: Final = "EXPORT"
IMPORT: Final = "IMPORT"

# The states of an export, in their order.
CONNECTING: Final = "connecting"
ESTABLISHING: Final = "reading-establish-response"
SNAPSHOTTING: Final = "snapshotting"
REPLICATING: Final = "replicating"
PAUSED: Final = "failover-paused"
# The states of an import.
RECEIVING: Final = "receiving-snapshot"
CATCHING_UP: Final = "waiting-for-paused"
REQUESTED: Final = "failover-requested"
FOLLOWING: Final = "occurring-on-primary"
# Both: past the point of no return.
GRANTED: Final = "failover-granted"
# Both: the end.
SUCCESS: Final = "success"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

log = logging.getLogger("redoubt")


class MigrationJob:
    """The facts about one migration on one node."""

    def __init__(
        self, name: str, operation: str, mask: int, source_id: str, target_id: str, now_ms: int
    ) -> None:
        self.name = name
        self.operation = operation
        self.mask = mask
        self.source_id = source_id
        self.target_id = target_id
        self.created_ms = now_ms
        self.updated_ms = now_ms
        self.acked_ms = now_ms
        self.state = CONNECTING if operation == EXPORT else RECEIVING
        self.message = ""
        # Of an export: what the target has not acknowledged yet.
        self.remaining_bytes = 0

    @property
    def is_finished(self) -> bool:
        return self.state in (SUCCESS, FAILED, CANCELLED)

    def enter(self, state: str, now_ms: int) -> None:
        """Go on to another state."""
        if state != self.state:
            self.state = state
            self.updated_ms = now_ms

    def finish(self, state: str, message: str, now_ms: int) -> None:
        """End in one of the three last states."""
        self.enter(state, now_ms)
        self.message = message
        self.remaining_bytes = 0
        level = logging.WARNING if state == FAILED else logging.INFO
        log.log(level, "Slot migration %s (%s of %s): %s. %s",
                self.name, self.operation.lower(), self.slot_ranges(), state, message)  # fmt: skip

    def slot_ranges(self) -> str:
        """Write the slots as Valkey does: `0-99 200-200`."""
        return " ".join([f"{first}-{last}" for first, last in ranges_of(self.mask)])

    def description(self) -> Reply:
        """Give the row of CLUSTER GETSLOTMIGRATIONS; times are in seconds."""
        rows: list[tuple[Reply, Reply]] = [
            (b"name", self.name.encode()),
            (b"operation", self.operation.encode()),
            (b"slot_ranges", self.slot_ranges().encode()),
            (b"target_node", self.target_id.encode()),
            (b"source_node", self.source_id.encode()),
            (b"create_time", self.created_ms // 1000),
            (b"last_update_time", self.updated_ms // 1000),
            (b"last_ack_time", self.acked_ms // 1000),
            (b"state", self.state.encode()),
            (b"message", self.message.encode()),
            (b"cow_size", 0),
            (b"remaining_repl_size", self.remaining_bytes),
        ]
        return MapReply(rows)


def range_words(mask: int) -> list[bytes]:
    """Write a set of slots as the words of a command: first, last, first, last."""
    words: list[bytes] = []
    for first, last in ranges_of(mask):
        words += [b"%d" % first, b"%d" % last]
    return words


def mask_of_words(words: list[bytes]) -> int:
    """Read what `range_words` wrote."""
    ranges: list[SlotRange] = [(int(words[at]), int(words[at + 1])) for at in range(0, len(words) - 1, 2)]
    return mask_of_ranges(ranges)
