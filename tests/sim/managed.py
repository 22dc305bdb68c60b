"""A whole RedoubtCluster in a `World`: Kubernetes, the operator's planner, the servers, and clients.

`Managed` creates the cluster as a person would, by wanting it; everything else is done by planner and
servers. Writes are tracked as a ghost: a write that a replica has acknowledged (WAIT) may only be missing at
the end if at some moment no running process and no volume held it, or if it was replicated to fewer members
than could be cut off together. `expose` is called before each fault that takes copies away and notes exactly
those.
"""

from __future__ import annotations

from typing import Any, Final

from redoubt.cluster.slots import key_slot
from redoubt.resp.replies import ErrorReply
from redoubt_operator import actions as do
from redoubt_operator.spec import ClusterSpec, read_spec
from tests.sim.kubernetes import Kubernetes, Placed
from tests.sim.operator_model import OperatorModel
from tests.sim.shards import SLOTS, Stage

SMALL: Final = {"resources": {"limits": {"memory": "256Mi"}}, "persistence": {"mode": "none"}}
FORM_MS_MAX: Final = 30_000


class Managed(Stage):
    """A cluster with its operator."""

    def __init__(self, seed: int, shards: int, replicas: int, **spec: Any) -> None:
        super().__init__(seed, shards)
        wanted = read_spec({**SMALL, "shards": shards, "replicasPerShard": replicas, **spec})
        assert isinstance(wanted, ClusterSpec), wanted
        self.spec = wanted
        self.replicas = replicas
        self.kubernetes = Kubernetes(self.world)
        self.operators: list[OperatorModel] = []
        # Acknowledged keys that at some moment nobody held any more.
        self.exposed: set[str] = set()
        self._changes = -1
        self.world.watchers.append(lambda world: self._refresh())
        self.lead()
        self.world.run_until(self.is_healthy, FORM_MS_MAX, "the cluster is created")
        self.invariants.watch()

    # The operator.

    @property
    def operator(self) -> OperatorModel:
        """The operator that leads."""
        return self.operators[-1]

    def lead(self) -> OperatorModel:
        """Have a new operator lead, whatever became of the ones before."""
        lease = len(self.operators) + 1
        self.operators.append(OperatorModel(self.world, self.kubernetes, self.spec, lease))
        self.operator.ordered = self._ordered
        return self.operator

    def _ordered(self, action: do.Action) -> None:
        if isinstance(action, do.AssignMaster) and action.is_newest:
            self.invariants.note_order(action.target.ip)

    # Looking.

    def _refresh(self) -> None:
        """Follow the pods that come and go."""
        if self._changes == self.kubernetes.changes:
            return
        self._changes = self.kubernetes.changes
        self.members = [[] for _ in range(self.shards)]
        for _, placed in sorted(self.kubernetes.pods.items()):
            if placed.pod.shard is not None:
                self.members[placed.pod.shard].append(placed.address)

    def is_healthy(self) -> bool:
        """Say whether every shard has all members that the spec wants, and each is well."""
        self._refresh()
        is_full = all(len(members) == self.replicas + 1 for members in self.members)
        is_calm = not any(placed.pod.is_terminating for placed in self.kubernetes.pods.values())
        return is_full and is_calm and super().is_healthy() and self._have_met()

    def _have_met(self) -> bool:
        """Say whether everybody knows everybody."""
        clusters = [self.cluster(address) for address in self.addresses()]
        ids = [cluster.topology.myself.node_id for cluster in clusters]
        return all(
            (known := cluster.topology.find(node_id)) is not None and known.is_known
            for cluster in clusters
            for node_id in ids
        )

    def pods_of(self, shard: int) -> list[Placed]:
        return [one for _, one in sorted(self.kubernetes.pods.items()) if one.pod.shard == shard]

    def pod_of_master(self, shard: int) -> Placed | None:
        return self.kubernetes.find(self.master_of(shard))

    def loss_is_told(self, shard: int) -> bool:
        """Say whether the status of the resource says that a shard's data were lost."""
        told = [one for one in self.kubernetes.status.get("conditions") or [] if one["type"] == "DataLost"]
        return any(one["status"] == "True" and f"shard {shard} " in one["message"] for one in told)

    # Writing, and what may be lost.

    def try_write(self, shard: int, replicas: int) -> bool:
        """Write one key without patience; it counts once `replicas` have acknowledged it."""
        address = self.master_of(shard)
        if not address:
            self.world.run(20)
            return False
        key, value = self.key_of(shard)
        reply = self.client.ask(address, "SET", key, value, limit_ms=100)
        if reply is None or isinstance(reply, ErrorReply):
            return False
        if replicas:
            count = self.client.ask(address, "WAIT", replicas, 100, limit_ms=200)
            if not isinstance(count, int) or count < replicas:
                return False
        self.acknowledged[key] = value
        return True

    def expose(self, addresses: list[str]) -> None:
        """Note the keys that nobody holds once these processes, and all that terminate, are gone."""
        leaving = [one.address for one in self.kubernetes.pods.values() if one.pod.is_terminating]
        keyspaces = [
            host.node.state.keyspaces[0]
            for address, host in self.world.hosts.items()
            if address not in [*addresses, *leaving] and host.node is not None
        ]
        for key in self.acknowledged:
            if not any(keyspace.lookup(key.encode(), 0) is not None for keyspace in keyspaces):
                self.exposed.add(key)

    def lost(self) -> list[str]:
        """List the acknowledged keys that are missing though somebody always held them."""
        return [key for key in super().lost() if key not in self.exposed]

    def shard_of(self, key: str) -> int:
        return min(key_slot(key.encode()) // (SLOTS // self.shards), self.shards - 1)
