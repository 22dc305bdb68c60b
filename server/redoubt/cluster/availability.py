"""Whether the cluster works, as this node sees it: `cluster_state` ok or fail.

It fails when a majority of the voters cannot be reached, or, with `cluster-require-full-coverage`, when a
slot has no owner or a failed one. A master that begins, or was in the minority, becomes ok only after its
majority has answered (see `majority.py`); among real Redis voters it waits as long as Redis does, too,
since their answers do not say whether somebody has taken its slots.

The cluster object calls `update` after whatever may change it. Source: `clusterUpdateState` as documented
in the Redis Cluster specification, "Availability".
"""

from __future__ import annotations

import logging
from typing import Final

from redoubt.cluster.bus import Bus
from redoubt.cluster.majority import MajorityWatch
from redoubt.cluster.slots import ALL_SLOTS, count
from redoubt.cluster.topology import FAILED, PFAIL, Topology
from redoubt.state import ServerState

# Redis: a master that starts waits this long before it serves.
WRITABLE_DELAY_MS: Final = 2_000
# Redis: after a time in the minority a master waits a node timeout, within these bounds.
REJOIN_DELAY_MS_MIN: Final = 500
REJOIN_DELAY_MS_MAX: Final = 5_000
log = logging.getLogger("redoubt")


class Availability:
    """The state of the cluster and what it follows from."""

    def __init__(
        self, state: ServerState, topology: Topology, bus: Bus, watch: MajorityWatch, now_ms: int
    ) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self.watch = watch
        self.is_ok = False
        self._started_ms = now_ms
        self._minority_ms = 0  # when we last saw ourselves in the minority

    def update(self, now_ms: int) -> None:
        """Compute the state anew."""
        is_ok = self._is_covered()
        reachable = [voter for voter in self.topology.voters() if not voter.is_suspected]
        if len(reachable) < self.topology.quorum():
            is_ok = False
            self._minority_ms = now_ms
            self.watch.check_reach(now_ms)
        if is_ok and not self.is_ok and self.topology.myself.is_voter and self._must_wait(now_ms):
            is_ok = False
        if is_ok != self.is_ok:
            log.warning("Cluster state changed: %s", "ok" if is_ok else "fail")
        self.is_ok = is_ok
        self.bus.state_is_ok = is_ok

    def _is_covered(self) -> bool:
        if not self.state.config.cluster_require_full_coverage:
            return True
        covered = 0
        for node in self.topology.nodes.values():
            if not node.is_failed:
                covered |= node.slots
        return covered == ALL_SLOTS

    def _must_wait(self, now_ms: int) -> bool:
        """Say whether a master that could serve must first let others tell it that it was replaced."""
        if self.watch.is_in_doubt:
            return True
        myself = self.topology.myself
        if all(voter.is_redoubt for voter in self.topology.voters() if voter is not myself):
            return False
        if now_ms - self._started_ms < WRITABLE_DELAY_MS:
            return True
        delay_ms = min(max(self.state.config.cluster_node_timeout, REJOIN_DELAY_MS_MIN), REJOIN_DELAY_MS_MAX)
        return self._minority_ms > 0 and now_ms - self._minority_ms < delay_ms

    # Figures.

    def slots_assigned(self) -> int:
        return count(ALL_SLOTS & ~self.topology.unowned())

    def slots_of_nodes_flagged(self, flags: int) -> int:
        """Count the slots whose owner has one of these flags."""
        return sum(node.slot_count for node in self.topology.nodes.values() if node.flags & flags)

    def slots_ok(self) -> int:
        return self.slots_assigned() - self.slots_of_nodes_flagged(PFAIL | FAILED)
