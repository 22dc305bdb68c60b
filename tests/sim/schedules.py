"""Random schedules of faults against a whole managed cluster, written so that a failure can be read and made
smaller.

A schedule is a list of `Step`s, drawn from a seed by `draw` and carried out by `play`. Steps name their
victims by place ("the master of shard 1", "the second replica of shard 0"), not by address, so that a
schedule with some steps taken out still means something; a step whose victim is not there does nothing.
After the last step all faults end, and then the cluster must become healthy by itself, with everything that
was promised.

A failure prints the seed, the shape and the steps; `python -m tests.sim.schedules KIND SEED` plays it again
and takes steps out as long as it still fails.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.sim.kubernetes import GRACE_MS, Placed
from tests.sim.managed import Managed

HEAL_MS_MAX: Final = 90_000


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, its place and its number (a time, or how long), and how long to wait afterwards."""

    what: str
    shard: int = 0
    member: int = 0  # 0: the master, else the n-th other member
    number: int = 0
    pause_ms: int = 0

    def __str__(self) -> str:
        return f"Step({self.what!r}, {self.shard}, {self.member}, {self.number}, {self.pause_ms})"


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of schedules: what may happen in it, and what is promised then."""

    name: str
    steps: tuple[str, ...]
    # The steps wait for health in between: at most one fault at a time.
    is_gentle: bool = False
    # Clients wait for every replica; else for one, if there is one.
    waits_for_all: bool = False
    has_volumes: bool = False
    counts_lost_writes: bool = True


KILLS: Final = Kind("kills", ("kill", "kill-many", "write", "write", "pause"))
GENTLE: Final = Kind("gentle", ("kill", "delete", "force-delete", "lose-node", "freeze"), is_gentle=True,
                     waits_for_all=True)  # fmt: skip
VOLUMES: Final = Kind("volumes", ("kill", "kill-many", "delete", "save", "write", "hold"), has_volumes=True)
OPERATOR: Final = Kind("operator", ("kill", "operator-dies", "operator-doubles", "operator-blind", "hold",
                                    "delete", "write"))  # fmt: skip
WILD: Final = Kind(
    "wild",
    ("kill", "kill-many", "hold", "freeze", "cut", "heal", "delete", "force-delete", "lose-node",
     "operator-dies", "write", "pause", "delete-many"),
    waits_for_all=True,
    counts_lost_writes=False,
)  # fmt: skip
KINDS: Final = {kind.name: kind for kind in (KILLS, GENTLE, VOLUMES, OPERATOR, WILD)}


def shape(kind: Kind, seed: int) -> tuple[int, int]:
    """Choose how many shards and replicas the cluster of a seed has."""
    random = Random(f"{kind.name} shape {seed}")
    replicas = random.choice([1, 1, 1, 2]) if kind.is_gentle or not kind.has_volumes else 1
    return random.choice([1, 2, 3, 3, 3, 5]), replicas if random.random() < 0.9 else 0


def draw(kind: Kind, seed: int) -> list[Step]:
    """Draw the steps of a seed."""
    shards, replicas = shape(kind, seed)
    random = Random(f"{kind.name} steps {seed}")
    pauses = [0, 1, 5, 20, 60, 150, 400, 1000, 2500]
    return [
        Step(
            random.choice(kind.steps),
            random.randrange(shards),
            random.choice([0, 0, *range(replicas + 1)]),
            random.choice([0, 10, 100, 500, 1500, 4000, 8000]),
            random.choice(pauses),
        )
        for _ in range(random.randint(3, 12))
    ]


class Play:
    """One schedule being played."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.kind = kind
        shards, replicas = shape(kind, seed)
        storage = {"storage": {"size": "1Gi"}} if kind.has_volumes else {}
        self.stage = Managed(seed, shards, replicas, **storage)
        self.world = self.stage.world
        self.kubernetes = self.stage.kubernetes
        self.replicas = replicas

    def run(self, steps: list[Step]) -> None:
        """Play the steps, end all faults, and judge."""
        for shard in range(self.stage.shards):
            self._write(shard, 3)
        for step in steps:
            self._do(step)
            self.world.run(step.pause_ms)
            if self.kind.is_gentle:
                self._end_faults()
                self.stage.wait_healthy(HEAL_MS_MAX)
                self._write(step.shard, 2)
        self._end_faults()
        self.stage.wait_healthy(HEAL_MS_MAX)
        for shard in range(self.stage.shards):
            self.stage.write(shard, wait=self.replicas)
        missing = self.stage.lost() if self.kind.counts_lost_writes else []
        assert not missing, f"acknowledged and replicated, and gone: {missing[:5]} of {len(missing)}"

    def _end_faults(self) -> None:
        self.world.heal()
        for placed in list(self.kubernetes.pods.values()):
            host = self.world.hosts.get(placed.address)
            if host is not None and host.is_frozen and host.node is not None:
                self.world.thaw(placed.address)
            if placed.pod.node in self.kubernetes.nodes:
                self.kubernetes.release(placed.pod.name)
        self._lead_if_none()

    def _write(self, shard: int, count: int) -> None:
        wanted = self.replicas if self.kind.waits_for_all else min(self.replicas, 1)
        for _ in range(count):
            self.stage.try_write(shard, wanted)

    def _victim(self, step: Step) -> Placed | None:
        """Find the pod at the step's place, if it is there and not terminating."""
        master = self.stage.pod_of_master(step.shard)
        others = [one for one in self.stage.pods_of(step.shard) if one is not master]
        ordered = ([master] if master is not None else []) + others
        if step.member >= len(ordered):
            return None
        return ordered[step.member]

    def _do(self, step: Step) -> None:
        if step.what in ("write", "save", "pause", "heal", "cut") or step.what.startswith("operator"):
            self._do_harmless(step)
            return
        if step.what.endswith("-many"):
            self._do_many(step)
            return
        victim = self._victim(step)
        if victim is None or victim.address not in self.world.hosts:
            return
        name = victim.pod.name
        if step.what != "freeze":
            self.stage.expose([victim.address])
        match step.what:
            case "kill":
                self.kubernetes.kill(name)
            case "hold":
                self.kubernetes.hold(name)
                self.world.after(step.number, lambda: self._release(name))
            case "delete":
                self.kubernetes.delete(name)
            case "force-delete":
                self.kubernetes.delete(name, 0)
            case "lose-node":
                self.kubernetes.lose_node(name)
            case "freeze":
                self._freeze(victim.address, step.number)
            case _:
                raise AssertionError(step)

    def _do_harmless(self, step: Step) -> None:
        match step.what:
            case "write":
                self._write(step.shard, 3)
            case "save":
                victim = self._victim(step)
                if victim is not None:
                    self.stage.client.ask(victim.address, "SAVE", limit_ms=100)
            case "cut":
                victim = self._victim(step)
                others = [a for a in self.stage.addresses() if victim is not None and a != victim.address]
                for address in others:
                    if victim is not None and self.world.random.random() < 0.7:
                        self.world.cut(victim.address, address)
                self.world.after(step.number, self.world.heal)
            case "heal":
                self.world.heal()
            case "operator-dies":
                self.stage.operator.stop()
                self.world.after(step.number, self._lead_if_none)
            case "operator-doubles":
                self.stage.lead()
            case "operator-blind":
                victim = self._victim(step)
                if victim is not None:
                    self.world.cut("client", victim.address)
                    self.world.after(step.number, self.world.heal)
            case _:
                assert step.what == "pause", step

    def _do_many(self, step: Step) -> None:
        """Take several members at once: a shard, or everything."""
        pods = self.stage.pods_of(step.shard)
        if step.member == 0:
            pods = [one for shard in range(self.stage.shards) for one in self.stage.pods_of(shard)]
        pods = [one for one in pods if one.address in self.world.hosts]
        self.stage.expose([one.address for one in pods])
        for placed in pods:
            if step.what == "delete-many":
                self.kubernetes.delete(placed.pod.name, GRACE_MS if step.number else 0)
            else:
                self.kubernetes.kill(placed.pod.name)

    def _release(self, name: str) -> None:
        if name in self.kubernetes.pods:
            self.kubernetes.release(name)

    def _freeze(self, address: str, duration_ms: int) -> None:
        host = self.world.hosts[address]
        if host.node is None or host.is_frozen:
            return
        self.world.freeze(address)
        incarnation = host.incarnation

        def thaw() -> None:
            if host.is_frozen and host.incarnation == incarnation and host.node is not None:
                self.world.thaw(address)

        self.world.after(duration_ms, thaw)

    def _lead_if_none(self) -> None:
        # An older one that goes on beside it is refused by the servers.
        if self.stage.operator.is_stopped:
            self.stage.lead()


def play(kind: Kind, seed: int, steps: list[Step] | None = None) -> None:
    """Play a schedule (by default the seed's own); a failure tells everything that reproduces it."""
    chosen = draw(kind, seed) if steps is None else steps
    try:
        Play(kind, seed).run(chosen)
    except AssertionError as error:
        told = "\n".join(f"    {step}," for step in chosen)
        shards, replicas = shape(kind, seed)
        raise AssertionError(
            f"{error}\nkind {kind.name}, seed {seed}: {shards} shards, {replicas} replicas each\n{told}"
        ) from error


def shrink(kind: Kind, seed: int) -> list[Step]:
    """Take steps out of a failing schedule as long as it still fails."""
    steps = draw(kind, seed)
    index = 0
    while index < len(steps):
        fewer = steps[:index] + steps[index + 1 :]
        try:
            play(kind, seed, fewer)
            index += 1
        except AssertionError:
            steps = fewer
    return steps


if __name__ == "__main__":
    for one in shrink(KINDS[sys.argv[1]], int(sys.argv[2])):
        print(one)
