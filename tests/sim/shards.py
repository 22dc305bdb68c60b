"""Managed clusters inside a `World`, and the clients that use them.

`Stage` is what every property needs: it tells who serves, writes through clients that follow MOVED as cluster
clients do, and reads everything back at the end. `Shards` is a cluster of fixed addresses, formed by the
orders that the operator gives, and then left to itself; `managed.Managed` is one with an operator and
Kubernetes around it. The invariants of `invariants.py` are watched after every single event.
"""

from __future__ import annotations

from redoubt.cluster.cluster import Cluster
from redoubt.cluster.slots import key_slot
from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import ErrorReply, Reply, encode_command
from tests.sim.invariants import Invariants
from tests.sim.world import CLIENT_PORT, End, Host, World

SLOTS = 16384
REPLY_LIMIT_MS = 5_000
NODE_TIMEOUT_MS = 3_000


def tag_in(first: int, last: int) -> str:
    """Find a hash tag whose slot lies in first..last."""
    return next(str(number) for number in range(100_000) if first <= key_slot(b"%d" % number) <= last)


class Client:
    """One client: connections by address, one command at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.connections: dict[str, tuple[End, ReplyDecoder]] = {}

    def ask(self, address: str, *words: str | int | bytes, limit_ms: int = REPLY_LIMIT_MS) -> Reply | None:
        """Send a command and run the world until its reply; None if the connection ended or time is up."""
        if address not in self.connections or self.connections[address][0].is_closed:
            end = self.world.connect(address)
            if end is None:
                self.world.run(1)
                return None
            self.connections[address] = (end, ReplyDecoder())
        end, decoder = self.connections[address]
        argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.world.send(end, encode_command(argv))
        replies: list[Reply] = []

        def has_reply() -> bool:
            data, end.inbox = end.inbox, b""
            decoder.feed(data)
            reply = decoder.next()
            if not isinstance(reply, NeedMore):
                replies.append(reply)
            return bool(replies) or end.is_closed

        try:
            self.world.run_until(has_reply, limit_ms)
        except AssertionError:
            del self.connections[address]  # a late reply must not be taken for the next one's
            return None
        return replies[0] if replies else None


class Stage:
    """A managed cluster in a world, whoever formed it."""

    def __init__(self, seed: int, shards: int) -> None:
        self.world = World(seed)
        self.client = Client(self.world)
        self.shards = shards
        # Addresses of the members of each shard.
        self.members: list[list[str]] = [[] for _ in range(shards)]
        self.acknowledged: dict[str, bytes] = {}
        self._serial = 0
        self.invariants = Invariants(self.world)

    # Looking.

    def addresses(self) -> list[str]:
        return [address for members in self.members for address in members]

    def host(self, address: str) -> Host:
        return self.world.hosts[address]

    def is_running(self, address: str) -> bool:
        host = self.world.hosts.get(address)
        return host is not None and host.node is not None

    def cluster(self, address: str) -> Cluster:
        node = self.host(address).node
        assert node is not None, f"{address} does not run"
        cluster = node.state.cluster
        assert isinstance(cluster, Cluster)
        return cluster

    def node_id(self, address: str) -> str:
        return self.cluster(address).topology.myself.node_id

    def knows_all(self, address: str) -> bool:
        return all(node.is_known for node in self.cluster(address).topology.nodes.values())

    def is_serving_master(self, address: str) -> bool:
        host = self.world.hosts.get(address)
        if host is None or host.node is None or host.is_frozen:
            return False
        cluster = self.cluster(address)
        return cluster.role.is_assigned and cluster.topology.myself.is_voter

    def master_of(self, shard: int) -> str:
        """Find the master with the highest epoch among the members of a shard."""
        serving = [address for address in self.members[shard] if self.is_serving_master(address)]
        return max(serving, key=lambda a: self.cluster(a).topology.myself.config_epoch, default="")

    def replicas_of(self, shard: int) -> list[str]:
        master = self.master_of(shard)
        return [address for address in self.members[shard] if address != master]

    def is_healthy(self) -> bool:
        """Say whether each shard has one master that serves, and every other member is its synced replica."""
        for shard, members in enumerate(self.members):
            masters = [address for address in members if self.is_serving_master(address)]
            if len(masters) != 1 or not self._accepts_writes(shard):
                return False
            for address in members:
                if address in masters:
                    continue
                if not self.is_running(address) or self.host(address).is_frozen:
                    return False
                cluster = self.cluster(address)
                replication = cluster.state.replication
                master = cluster.topology.myself.master
                is_mine = master is not None and master.node_id == self.node_id(masters[0])
                if not (is_mine and replication.is_synced and replication.link_is_up):
                    return False
        return True

    def _accepts_writes(self, shard: int) -> bool:
        cluster = self.cluster(self.master_of(shard))
        return cluster.bus.state_is_ok

    def wait_healthy(self, limit_ms: int = 30_000) -> int:
        return self.world.run_until(self.is_healthy, limit_ms, "every shard is healthy")

    # Using.

    def must(self, address: str, *words: str | int) -> None:
        """Give an order that has to succeed."""
        reply = self.client.ask(address, *words)
        assert reply is not None and not isinstance(reply, ErrorReply), (address, words, reply)

    def key_of(self, shard: int) -> tuple[str, bytes]:
        """Make a key of a shard that was not used before, and its value."""
        width = SLOTS // self.shards
        self._serial += 1
        return f"{{{tag_in(shard * width, (shard + 1) * width - 1)}}}{self._serial}", b"%d" % self._serial

    def write_at(self, address: str, shard: int) -> bool:
        """Try one write at one node only; say whether it was acknowledged."""
        key, value = self.key_of(shard)
        reply = self.client.ask(address, "SET", key, value, limit_ms=300)
        if reply is None or isinstance(reply, ErrorReply):
            return False
        self.acknowledged[key] = value
        return True

    def write(self, shard: int, *, wait: int = 0, limit_ms: int = 20_000) -> int:
        """Write one more key of a shard, trying until it is acknowledged; return how long that took."""
        began_ms = self.world.now_ms
        key, value = self.key_of(shard)
        target, turn = self.master_of(shard) or self.members[shard][0], 0
        while self.world.now_ms - began_ms < limit_ms:
            reply = self.client.ask(target, "SET", key, value, limit_ms=500)
            if isinstance(reply, ErrorReply) and reply.text.startswith(b"MOVED "):
                target = reply.text.split()[2].decode().rsplit(":", 1)[0]
                continue
            if reply is not None and not isinstance(reply, ErrorReply):
                if wait:
                    count = self.client.ask(target, "WAIT", wait, 1000, limit_ms=1500)
                    if not isinstance(count, int) or count < wait:
                        continue
                self.acknowledged[key] = value
                return self.world.now_ms - began_ms
            turn += 1
            target = self.members[shard][turn % len(self.members[shard])]
            self.world.run(5)
        raise AssertionError(f"shard {shard} took no write for {limit_ms} ms; last reply {reply!r}")

    def lost(self) -> list[str]:
        """List the acknowledged keys that the present masters do not have."""
        missing = []
        for key, value in self.acknowledged.items():
            shard = min(key_slot(key.encode()) // (SLOTS // self.shards), self.shards - 1)
            if self.client.ask(self.master_of(shard), "GET", key) != value:
                missing.append(key)
        return missing


class Shards(Stage):
    """A cluster of fixed addresses, formed by orders; nobody looks after it."""

    def __init__(self, seed: int, shards: int, replicas: int, **config: str) -> None:
        super().__init__(seed, shards)
        self.lease = 1
        self.is_managed = config.get("await_role", "yes") == "yes"
        for shard in range(shards):
            self.members[shard] = [f"10.0.{shard}.{member + 1}" for member in range(replicas + 1)]
            for address in self.members[shard]:
                self.world.add(address, **{**MANAGED, **config})
        self._form()
        self.invariants.watch()

    def _form(self) -> None:
        width = SLOTS // self.shards
        self.world.run(10)
        for shard, (master, *_replicas) in enumerate(self.members):
            last = SLOTS - 1 if shard == self.shards - 1 else (shard + 1) * width - 1
            self.must(master, "CLUSTER", "SET-CONFIG-EPOCH", shard + 1)
            if self.is_managed:
                self.must(master, "REDOUBT", "ROLE", "MASTER", 0, self.lease)
            self.must(master, "CLUSTER", "ADDSLOTSRANGE", shard * width, last)
        first = self.members[0][0]
        for address in self.addresses()[0:]:
            if address != first:
                self.must(first, "CLUSTER", "MEET", address, CLIENT_PORT)
        everyone = len(self.addresses())
        self.world.run_until(
            lambda: all(
                len(self.cluster(a).topology.nodes) == everyone and self.knows_all(a)
                for a in self.addresses()
            ),
            20_000,
            "everybody has met",
        )
        for master, *replicas in self.members:
            for replica in replicas:
                if self.is_managed:
                    self.must(replica, "REDOUBT", "ROLE", "REPLICA", 0, self.lease, self.node_id(master))
                else:
                    self.must(replica, "CLUSTER", "REPLICATE", self.node_id(master))
        self.wait_healthy()


# What the operator sets on every server.
MANAGED = {
    "await_role": "yes",
    "cluster_node_timeout": str(NODE_TIMEOUT_MS),
    "cluster_allow_replica_migration": "no",
    "cluster_replica_validity_factor": "0",
    "cluster_require_full_coverage": "no",
    "repl_diskless_sync_delay": "0",
    "repl_backlog_ttl": "0",
    "protected_mode": "no",
}
