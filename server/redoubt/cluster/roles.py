"""What this node is: changing between master and replica, in the map and in the replication.

The map says whose replica we are; the replication follows an address. `Roles` keeps the second true to the
first, also when the master moves to another address or is learned of only later.

Elections, claims, CLUSTER REPLICATE and RESET, and the orders of managed mode call this; it decides
nothing by itself. Source: the Redis Cluster specification, "Slave promotion".
"""

from __future__ import annotations

import logging

from redoubt.cluster.bus import Bus
from redoubt.cluster.config_file import ConfigFile
from redoubt.cluster.topology import ClusterNode, Topology, new_id
from redoubt.state import ServerState

log = logging.getLogger("redoubt")


class Roles:
    """The role of one node."""

    def __init__(self, state: ServerState, topology: Topology, bus: Bus, file: ConfigFile) -> None:
        self.state = state
        self.topology = topology
        self.bus = bus
        self.file = file
        # The address that the replication was told to follow; empty as a master.
        self._followed = ""
        # Counts changes of our role or master, for who must abandon what it was doing.
        self.changes = 0

    def follow(self, master: ClusterNode) -> None:
        """Become the replica of a master, or of another one."""
        topology = self.topology
        myself = topology.myself
        assert master is not myself
        if myself.master is master:
            return
        topology.migrating.clear()
        topology.importing.clear()
        topology.set_replica(myself, master)
        log.warning("Configured as a replica of %s", master.node_id)
        self.changes += 1
        # Need not be synced: should this node forget it, its old claim has the lower epoch.
        self.file.mark()
        self.align()

    def lead(self) -> None:
        """Become a master; slots are given separately."""
        myself = self.topology.myself
        if myself.is_replica:
            self.topology.set_master(myself)
            self.changes += 1
            self.file.mark(is_urgent=True)
        self.align()

    def found_shard(self) -> None:
        """Begin a shard of our own (after RESET): a master that shares its history with nobody."""
        self.topology.myself.shard_id = new_id(self.state.random)
        self.file.mark()

    def align(self) -> None:
        """Make the replication do what the map says; cheap when nothing changed."""
        myself = self.topology.myself
        master = myself.master
        if myself.is_master:
            if self.state.replication.is_replica:
                self._followed = ""
                self.state.replication.lead(self.state.now_ms)
            return
        if master is None or not master.ip or not master.port:
            return
        address = f"{master.ip} {master.port}"
        if address != self._followed or not self.state.replication.is_replica:
            self._followed = address
            self.state.replication.follow(master.ip, master.port, self.state.now_ms)
