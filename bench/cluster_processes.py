"""A cluster of bare server processes on this machine, ours or redis-server's, and the two ways to move slots.

Three masters share the slots and a fourth one has none. `reshard` moves slots as people do with redis-cli,
key by key; `migrate` moves them with CLUSTER MIGRATESLOTS, a whole range at once. No replicas, no
Kubernetes, no operator: what is compared is the move alone. Used by slot_moves.py.
"""

from __future__ import annotations

import subprocess
import time
from typing import Final

import redis
from redis.cluster import ClusterNode, RedisCluster

from bench.server import Server
from devcluster.writer import ShardWriter, tags_over_slots

HOST: Final = "127.0.0.1"
SHARDS: Final = 3
FORM_LIMIT_S: Final = 60
MOVE_LIMIT_S: Final = 600
POLL_S: Final = 0.02
# Terminal states of a migration, as CLUSTER GETSLOTMIGRATIONS reports them.
ENDED: Final = (b"success", b"failed", b"cancelled")


class ProcessCluster:
    """Four masters; slots of the first three."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        # A master that has given its last slot away stays one: the next round gives it some again.
        arguments = ["--cluster-enabled", "yes", "--cluster-allow-replica-migration", "no"]
        arguments += ["--cluster-node-timeout", "3000", "--bind", HOST]
        self._servers = [Server(name, [*command, *arguments], False) for _ in range(SHARDS + 1)]
        addresses = [f"{HOST}:{server.port}" for server in self._servers]
        self._cli("create", *addresses[:SHARDS], "--cluster-yes")
        self._wait(lambda: self._is_agreed(SHARDS))
        self._cli("add-node", addresses[SHARDS], addresses[0])
        self._wait(lambda: self._is_agreed(SHARDS + 1))
        self.ids = [str(self._ask(server, "CLUSTER", "MYID")) for server in self._servers]

    def stop(self) -> None:
        """End all servers."""
        for server in self._servers:
            server.stop()

    def client(self) -> RedisCluster:
        """Connect as applications do, with defaults."""
        return RedisCluster(startup_nodes=[ClusterNode(HOST, server.port) for server in self._servers])

    def writers(self, prefix: str) -> list[ShardWriter]:
        """Make a writer for each master that has slots."""
        known = [(HOST, server.port) for server in self._servers]
        return [
            ShardWriter(lambda: known, "", tags_over_slots(self._slots(number)), prefix=f"{prefix}-{number}")
            for number in range(len(self._servers))
            if self._slots(number)
        ]

    def keys_of(self, number: int) -> int:
        """Count the keys of a master."""
        with self._connect(self._servers[number]) as client:
            return int(client.dbsize())

    def spread(self, how: str) -> None:
        """Give the fourth master its quarter of the slots: `reshard` or `migrate`."""
        shares = [self._slots(number)[: len(self._slots(number)) // (SHARDS + 1)] for number in range(SHARDS)]
        if how == "migrate":
            for number, share in enumerate(shares):
                self._order(number, {SHARDS: share})
            for number in range(SHARDS):
                self._await_moves(number)
            return
        sources = ",".join(self.ids[:SHARDS])
        self._reshard(sources, SHARDS, sum(len(share) for share in shares))

    def gather(self, how: str) -> None:
        """Give the fourth master's slots back in equal parts."""
        slots = self._slots(SHARDS)
        parts = [
            slots[len(slots) * part // SHARDS : len(slots) * (part + 1) // SHARDS] for part in range(SHARDS)
        ]
        if how == "migrate":
            self._order(SHARDS, dict(enumerate(parts)))
            self._await_moves(SHARDS)
            return
        for number, part in enumerate(parts):
            self._reshard(self.ids[SHARDS], number, len(part))

    def _order(self, source: int, targets: dict[int, list[int]]) -> None:
        words: list[str | int] = []
        for target, slots in targets.items():
            words.append("SLOTSRANGE")
            for first, last in _ranges(slots):
                words += [first, last]
            words += ["NODE", self.ids[target]]
        with self._connect(self._servers[source]) as client:
            client.execute_command("CLUSTER", "MIGRATESLOTS", *words)

    def _await_moves(self, source: int) -> None:
        """Wait until every migration of a source has ended; all must have succeeded."""
        began = time.monotonic()
        with self._connect(self._servers[source]) as client:
            while True:
                rows = client.execute_command("CLUSTER", "GETSLOTMIGRATIONS")
                states = [_field(row, b"state") for row in rows]
                if all(state in ENDED for state in states):
                    break
                if time.monotonic() - began > MOVE_LIMIT_S:
                    raise SystemExit(f"{self.name}: not moved within {MOVE_LIMIT_S} s: {rows}")
                time.sleep(POLL_S)
        if any(state != b"success" for state in states):
            raise SystemExit(f"{self.name}: a move failed: {rows}")

    def _reshard(self, sources: str, target: int, slots: int) -> None:
        origin = f"{HOST}:{self._servers[0].port}"
        words = ["--cluster-from", sources, "--cluster-to", self.ids[target], "--cluster-slots", str(slots)]
        self._cli("reshard", origin, *words, "--cluster-yes")

    def _slots(self, number: int) -> list[int]:
        port = self._servers[number].port
        slots: list[int] = []
        with self._connect(self._servers[number]) as client:
            for first, last, master, *_ in client.execute_command("CLUSTER", "SLOTS"):
                if int(master[1]) == port:
                    slots += range(int(first), int(last) + 1)
        return slots

    def _is_agreed(self, nodes: int) -> bool:
        """Whether the first `nodes` know each other and agree that all is well."""
        infos = [str(self._ask(server, "CLUSTER", "INFO")) for server in self._servers[:nodes]]
        return all("cluster_state:ok" in info and f"cluster_known_nodes:{nodes}" in info for info in infos)

    def _ask(self, server: Server, *words: str) -> str:
        return server.ask(*words).strip()

    def _connect(self, server: Server) -> redis.Redis:
        return redis.Redis(host=HOST, port=server.port, protocol=2)

    def _cli(self, *words: str) -> None:
        done = subprocess.run(
            ["redis-cli", "--cluster", *words], capture_output=True, text=True, timeout=MOVE_LIMIT_S
        )
        if done.returncode:
            raise SystemExit(f"redis-cli --cluster {' '.join(words)}: {done.stdout[-800:]}{done.stderr}")

    def _wait(self, condition: object) -> None:
        assert callable(condition)
        deadline = time.monotonic() + FORM_LIMIT_S
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name}: no cluster within {FORM_LIMIT_S} s")
            time.sleep(POLL_S)


def _ranges(slots: list[int]) -> list[tuple[int, int]]:
    """Write sorted slots as ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for slot in slots:
        if ranges and slot == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], slot)
        else:
            ranges.append((slot, slot))
    return ranges


def _field(row: object, name: bytes) -> bytes:
    """Read a field of a map, which RESP2 sends as a flat list."""
    if isinstance(row, dict):
        return bytes(row[name])
    assert isinstance(row, list)
    return bytes(row[row.index(name) + 1])
