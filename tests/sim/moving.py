"""A cluster between whose shards slots move, under the writes and reads of several clients.

`Moving` is a cluster of fixed addresses that nobody looks after (`shards.py`), so that what heals is the
servers' own doing. It has keys in the slots that will move and in those that stay, on both sides, and hands
(`workload.py`) that use all of them. `judge` is what must be true at the end of every story: one map that
everybody agrees on, every key at its slot's owner and nowhere else, hidden or not, replicas equal to their
masters, and every account in order.
"""

from __future__ import annotations

from typing import Final

from redoubt.cluster.cluster import Cluster
from redoubt.cluster.slots import ALL_SLOTS, mask_of_ranges
from redoubt.resp.replies import ErrorReply, MapReply, Reply
from tests.sim.ledger import LATEST, Ledger
from tests.sim.shards import MANAGED, Shards
from tests.sim.workload import EXPIRY_MS, Hand, contents_of, keys_in
from tests.sim.world import CLIENT_PORT, World

SETTLE_MS_MAX: Final = 60_000
# Of shard 0 of two or three: a good part of what it has.
RANGE: Final = (0, 2_000)
SLOW_MS_MAX: Final = 60
TERMINAL: Final = ("success", "failed", "cancelled")


class Moving(Shards):
    """See the module's docstring."""

    def __init__(self, seed: int, shards: int, replicas: int, **config: str) -> None:
        super().__init__(seed, shards, replicas, **config)
        self.replicas = replicas
        self.ledger = Ledger()
        self.hands: list[Hand] = []
        # How long after its end a process is started again; None: not at all.
        self.back_after_ms: int | None = None
        self.invariants.watch_writers()
        self.world.kill_listeners.append(lambda host: self._killed(host.address))

    # Clients.

    def begin_work(self, hands: int = 3, *, trusts_replies: bool = True, keys: int = 4) -> None:
        """Open accounts in the slots that move and in others, and have clients use them."""
        first, last = RANGE
        moving = keys_in(first, last, hands * keys)
        staying = keys_in(last + 1, 2 * last, hands * 2) + keys_in(15_000, 16_000, hands * 2)
        for number in range(hands):
            mine = moving[number::hands] + staying[number::hands]
            accounts = [self.ledger.open(key, is_log=place % 3 == 2) for place, key in enumerate(mine)]
            self.hands.append(Hand(self, accounts, self.replicas, trusts_replies))

    def slow_down(self) -> None:
        """Have the clients write less often: what is interesting has happened."""
        for hand in self.hands:
            hand.think_ms_max = SLOW_MS_MAX

    def end_work(self) -> None:
        """Let every hand finish what it began."""
        for hand in self.hands:
            hand.stop()
        self.world.run_until(lambda: all(hand.is_idle for hand in self.hands), 5_000, "hands are idle")

    # Moves.

    def order_move(self, source: int, target: int, ranges: list[tuple[int, int]]) -> Reply | None:
        """Ask the master of a shard to give slots to that of another."""
        words: list[str | int] = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE"]
        for first, last in ranges:
            words += [first, last]
        words += ["NODE", self.node_id(self.head_of(target))]
        return self.client.ask(self.head_of(source), *words, limit_ms=500)

    def move(self, source: int = 0, target: int = 1, ranges: list[tuple[int, int]] | None = None) -> None:
        """Begin a move that has to be accepted."""
        reply = self.order_move(source, target, ranges or [RANGE])
        assert reply is not None and not isinstance(reply, ErrorReply), reply

    def head_of(self, shard: int) -> str:
        """Find the shard's master, also one that has no slots yet."""
        return self.master_of(shard) or self.empty_master_of(shard)

    def empty_master_of(self, shard: int) -> str:
        running = [address for address in self.members[shard] if self.is_running(address)]
        masters = [address for address in running if self.cluster(address).topology.myself.is_master]
        return next((address for address in masters if self.cluster(address).role.is_assigned), "")

    def owner_of(self, slot: int) -> str:
        """Find the address of the slot's owner in the newest claim; empty if nobody claims it."""
        claims = [
            (self.cluster(address).topology.myself.config_epoch, address)
            for address in self.addresses()
            if self.is_serving_master(address) and self.cluster(address).topology.myself.slots >> slot & 1
        ]
        return max(claims, default=(0, ""))[1]

    def moves_at(self, address: str) -> list[dict[str, str]]:
        """Ask a node for its moves, newest first."""
        reply = self.client.ask(address, "CLUSTER", "GETSLOTMIGRATIONS")
        assert isinstance(reply, list), reply
        return [_fields(one) for one in reply]

    def is_moved(self, target: int, slots: int) -> bool:
        address = self.master_of(target)
        return bool(address) and self.cluster(address).topology.myself.slots & slots == slots

    def wait_moved(self, target: int = 1, slots: int | None = None, limit_ms: int = 10_000) -> int:
        """Wait until the target owns the slots."""
        mask = mask_of_ranges([RANGE]) if slots is None else slots
        return self.world.run_until(lambda: self.is_moved(target, mask), limit_ms, "the slots have moved")

    # Growing.

    def add_shard(self, replicas: int) -> int:
        """Add a shard without slots, in the order in which the operator does it."""
        shard = self.shards
        self.shards += 1
        self.members.append([f"10.0.{shard}.{member + 1}" for member in range(replicas + 1)])
        epoch = max(self.cluster(address).topology.current_epoch for members in self.members[:-1]
                    for address in members if self.is_running(address))  # fmt: skip
        for address in self.members[shard]:
            self.world.add(address, **MANAGED)
        self.world.run(10)
        master, *others = self.members[shard]
        self.must(master, "CLUSTER", "SET-CONFIG-EPOCH", epoch + 1)
        self.must(master, "REDOUBT", "ROLE", "MASTER", 0, self.lease)
        known = self.master_of(0)
        for address in self.members[shard]:
            self.must(known, "CLUSTER", "MEET", address, CLIENT_PORT)
        everyone = len(self.addresses())
        self.world.run_until(
            lambda: all(
                len(self.cluster(one).topology.nodes) == everyone and self.knows_all(one)
                for one in self.addresses()
            ),
            20_000,
            "everybody has met the new shard",
        )
        for address in others:
            self.must(address, "REDOUBT", "ROLE", "REPLICA", 0, self.lease, self.node_id(master))
        self.world.run_until(
            lambda: all(self.cluster(one).state.replication.is_synced for one in others), 10_000
        )
        return shard

    # Faults.

    def _killed(self, address: str) -> None:
        """A process is about to end: forgive the keys of which nobody else in its shard has a copy."""
        if not self.is_running(address):
            return
        if self.back_after_ms is not None:
            self.start_later(address, self.back_after_ms)
        cluster = self.cluster(address)
        slots = cluster.topology.myself.slots
        if slots and not any(self._is_copy(other, cluster) for other in self.addresses()):
            self.ledger.forgive(slots)

    def _is_copy(self, address: str, master: Cluster) -> bool:
        if not self.is_running(address) or self.host(address).is_frozen:
            return False
        cluster = self.cluster(address)
        head = cluster.topology.myself.master
        is_mine = head is not None and head.node_id == master.topology.myself.node_id
        return is_mine and cluster.state.replication.is_synced

    def kill(self, address: str) -> None:
        """Kill a process, if it runs."""
        if self.is_running(address):
            self.world.kill(address)

    def kill_at_delivery(self, number: int, *addresses: str) -> None:
        """Kill processes as soon as so many packets more have arrived, anywhere."""
        last = self.world.deliveries + number
        pending = list(addresses)

        def watch(world: World) -> None:
            while pending and world.deliveries >= last:
                self.kill(pending.pop())

        self.world.watchers.append(watch)

    def kill_at_send(self, number: int, address: str) -> None:
        """Kill a process in the middle of a turn, before its so many-th write from now on."""
        host = self.host(address)
        host.dies_at_send = host.sends + number

    def start_later(self, address: str, after_ms: int) -> None:
        def start() -> None:
            if not self.is_running(address):
                self.world.start(address)

        self.world.after(after_ms, start)

    # Judging.

    def is_settled(self) -> bool:
        """Say whether all run, each shard is whole, the maps are one, and nothing moves any more."""
        if not all(self.is_running(a) and not self.host(a).is_frozen for a in self.addresses()):
            return False
        clusters = [self.cluster(address) for address in self.addresses()]
        if not all(cluster.role.is_assigned and cluster.bus.state_is_ok for cluster in clusters):
            return False
        return (
            all(self._is_whole(shard) for shard in range(self.shards))
            and len({_map_of(cluster) for cluster in clusters}) == 1
            and not any(is_moving(cluster) for cluster in clusters)
        )

    def _is_whole(self, shard: int) -> bool:
        heads = [a for a in self.members[shard] if self.cluster(a).topology.myself.is_master]
        if len(heads) != 1:
            return False
        head_id = self.node_id(heads[0])
        for address in self.members[shard]:
            cluster = self.cluster(address)
            master = cluster.topology.myself.master
            if address == heads[0]:
                continue
            replication = cluster.state.replication
            if master is None or master.node_id != head_id:
                return False
            if not (replication.is_synced and replication.link_is_up):
                return False
            if replication.offset != self.cluster(heads[0]).state.replication.offset:
                return False
        return True

    def judge(self) -> None:
        """End the work, wait until the cluster is settled, and look at everything."""
        self.world.run_until(self._owns_all, SETTLE_MS_MAX, "every slot has an owner that serves")
        self.end_work()
        self.world.run(EXPIRY_MS + 10)
        self.world.run_until(self.is_settled, SETTLE_MS_MAX, "the cluster is settled")
        found = self._check_accounts()
        self._check_places(found)

    def _owns_all(self) -> bool:
        masks = [self.cluster(a).topology.myself.slots for a in self.addresses() if self.is_serving_master(a)]
        covered = 0
        for mask in masks:
            covered |= mask
        return covered == ALL_SLOTS

    def _check_accounts(self) -> list[str]:
        """Read every key at its slot's owner; return those that exist."""
        existing = []
        for account in self.ledger.accounts:
            address = self.owner_of(account.slot)
            found = contents_of(account, self.client.ask(address, "GET", account.key))
            objection = account.objection(found, LATEST)
            assert not objection, f"at {address}, owner of slot {account.slot}: {objection}"
            if found:
                existing.append(account.key)
        return existing

    def _check_places(self, existing: list[str]) -> None:
        """Every key is seen once, and nobody holds another one, visible or not."""
        sizes = {}
        for shard in range(self.shards):
            master = self.head_of(shard)
            slots = self.cluster(master).topology.myself.slots
            mine = [one.key for one in self.ledger.accounts if slots >> one.slot & 1 and one.key in existing]
            sizes[master] = self.client.ask(master, "DBSIZE")
            keys = self.client.ask(master, "KEYS", "*")
            assert isinstance(keys, list)
            assert sorted(str(k, "ascii") for k in keys if isinstance(k, bytes)) == sorted(mine), master
            for address in self.members[shard]:
                assert held_keys(self.cluster(address)) == sorted(mine), (
                    f"what {address} of shard {shard} holds"
                )
        assert sum(size for size in sizes.values() if isinstance(size, int)) == len(existing), sizes


def held_keys(cluster: Cluster) -> list[str]:
    """List every key in the memory of a process, hidden ones included."""
    return sorted(key.decode() for key in cluster.state.keyspaces[0].all_keys())


def is_moving(cluster: Cluster) -> bool:
    """Say whether a node takes part in a move, or removes what one has left behind."""
    migrations = cluster.migrations
    is_sure = not cluster.topology.grants and not cluster.routing.held
    is_clean = not migrations.sweeper.is_busy() and not migrations.dropped
    is_idle = not migrations.active_exports() and not migrations.active_imports()
    return not (is_sure and is_clean and is_idle)


def _map_of(cluster: Cluster) -> tuple[tuple[str, int], ...]:
    nodes = cluster.topology.sorted_nodes()
    return tuple((node.node_id, node.slots) for node in nodes if node.slots)


def _fields(entry: Reply) -> dict[str, str]:
    pairs = entry.pairs if isinstance(entry, MapReply) else None
    if pairs is None:
        assert isinstance(entry, list)
        pairs = list(zip(entry[::2], entry[1::2], strict=True))
    return {_text(key): _text(value) for key, value in pairs}


def _text(value: Reply) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
