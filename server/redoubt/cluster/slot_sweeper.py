"""Removes the keys of slots that have left this node, a slice at a time.

A slot that went to another node leaves its keys behind. Deleting a million of them at once would stop the
server for seconds; here each tick deletes a few hundred and hands the same DELs to the replicas. Nobody can
ask for these keys any more: routing sends everybody to the new owner.

Called by the claims that lose slots, by migrations, and at every tick. It decides nothing: a slot that is
ours again when its turn comes is left alone.
"""

from __future__ import annotations

from typing import Final

from redoubt.cluster.slots import mask_of, slots_of
from redoubt.cluster.topology import Topology
from redoubt.data.slot_tables import count_in_slot, keys_in_slot
from redoubt.state import ServerState

# About a millisecond of work.
KEYS_PER_TICK: Final = 300


class SlotSweeper:
    """The slots whose keys are to be removed."""

    def __init__(self, state: ServerState, topology: Topology) -> None:
        self.state = state
        self.topology = topology
        self.mask = 0
        self.keys_removed = 0

    def add(self, mask: int) -> None:
        """Remove the keys of these slots from now on."""
        tables = self.state.keyspaces[0].tables
        self.mask |= mask_of([slot for slot in slots_of(mask) if tables[slot] is not None])

    def keep(self, mask: int) -> None:
        """Leave these slots alone: they have come back."""
        self.mask &= ~mask

    def add_foreign(self) -> None:
        """Remove what lies in slots of other masters: what the last master here had no time to remove."""
        for slot, table in enumerate(self.state.keyspaces[0].tables):
            if table is not None:
                owner = self.topology.owners[slot]
                if owner is not None and owner is not self.topology.myself:
                    self.mask |= 1 << slot

    def tick(self) -> None:
        """Remove a slice."""
        if not self.mask:
            return
        if self.state.replication.is_replica:
            self.mask = 0  # our master's DELs do it
            return
        # What was given away may have to be taken back, also by a successor that never claimed it.
        self.mask &= ~(self.topology.myself.slots | self.topology.granted())
        left = KEYS_PER_TICK
        while self.mask and left > 0:
            slot = (self.mask & -self.mask).bit_length() - 1
            left -= self._remove(slot, left)
            if not count_in_slot(self.state.keyspaces[0], slot):
                self.mask &= ~(1 << slot)

    def is_busy(self) -> bool:
        """Say whether there is more to remove."""
        return self.mask != 0

    def _remove(self, slot: int, keys_max: int) -> int:
        """Remove keys of one slot; return how many."""
        keyspace = self.state.keyspaces[0]
        replication = self.state.replication
        keys = keys_in_slot(keyspace, slot, keys_max)
        if not keys:
            return 0
        for key in keys:
            keyspace.delete(key)
        if replication.is_feeding:
            replication.feed(0, [b"DEL", *keys])
        self.keys_removed += len(keys)
        return len(keys)
