"""What each slot costs: CPU time of its commands, bytes from clients, bytes to clients and replicas.

Counted only while `cluster-slot-stats-enabled` is on, since the dispatcher must then time every command and
not one in 64; otherwise nothing of this lies on the path of a command. A slot that leaves the shard, or comes
to it, begins at zero. How many keys and bytes a slot holds is not counted here: its table knows.

The dispatcher tells `note`, the cluster `follow`; CLUSTER SLOT-STATS reads the three lists.
Source: the page of CLUSTER SLOT-STATS in the documentation of Redis 8.2 and Valkey 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.cluster.slots import SLOTS, slots_of
from redoubt.commands import declare
from redoubt.hooks import UsageMeter
from redoubt.resp.replies import Reply, encode

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState


class SlotUsage(UsageMeter):
    """The counters of all slots since they joined this shard or the counting began."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.is_counting = False
        self.cpu_usec: list[int] = []
        self.bytes_in: list[int] = []
        self.bytes_out: list[int] = []
        self._owned = 0
        self.reset()

    def start(self) -> None:
        """Follow the directive, now and when it changes."""
        self.state.config.on_change("cluster-slot-stats-enabled", self._switch)
        self._switch()

    def _switch(self) -> str:
        is_wanted = self.state.config.cluster_slot_stats_enabled
        if is_wanted != self.is_counting:
            self.is_counting = is_wanted
            self.reset()
            self.state.dispatcher.measure_for(self if is_wanted else None)
        return ""

    def reset(self) -> None:
        """Count from zero again (CONFIG RESETSTAT)."""
        self.cpu_usec = [0] * SLOTS
        self.bytes_in = [0] * SLOTS
        self.bytes_out = [0] * SLOTS

    def follow(self, owned: int) -> None:
        """Forget what the slots cost that have come to the shard or left it; `owned`: mask of its slots."""
        if self.is_counting:
            for slot in slots_of(owned ^ self._owned):
                self.cpu_usec[slot] = self.bytes_in[slot] = self.bytes_out[slot] = 0
        self._owned = owned

    def note(
        self, ctx: Session, row: declare.Row, argv: list[bytes], reply: Reply, usec: int, fed_bytes: int
    ) -> None:
        """Add one command to its slot; one without keys, or of a slot not ours, costs no slot anything."""
        if not row.key_specs:
            return
        keys = declare.keys_of(row, argv)
        if not keys:
            return
        slot = ctx.db.slot_of(keys[0])
        if not self._owned >> slot & 1:
            return
        self.cpu_usec[slot] += usec
        self.bytes_in[slot] += command_bytes(argv)
        out: list[bytes] = []
        encode(reply, ctx.resp, out)
        sent_bytes = sum([len(piece) for piece in out])
        if fed_bytes:
            sent_bytes += fed_bytes * self.state.replication.replica_count()
        self.bytes_out[slot] += sent_bytes


def command_bytes(argv: list[bytes]) -> int:
    """Count the bytes of a command as it stands in the protocol."""
    total = 3 + len(str(len(argv)))
    for word in argv:
        total += 5 + len(str(len(word))) + len(word)
    return total
