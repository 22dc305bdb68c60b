"""The planner's invariants over generated worlds: faults, edits and operator deaths in any order.

Each property has the name under which ARCHITECTURE lists it. A world lives through a generated history; every
action is judged at the moment when it is carried out, by what is true in the world and not by what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from redoubt_operator import pods
from redoubt_operator.actions import (
    Action,
    AddSlots,
    ApplyObject,
    AssignMaster,
    DeleteClaim,
    DeletePod,
    Forget,
    MigrateSlots,
    RaiseLease,
)
from redoubt_operator.observation import PodPhase
from redoubt_operator.placement import SLOTS
from redoubt_operator.plan import plan
from tests.redoubt_operator.data_plane import ALL_SLOTS, Host, count
from tests.redoubt_operator.world import SMALL, World

EXAMPLES = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@dataclass(frozen=True)
class Fault:
    """Something that happens to a world; `pick` chooses among the pods that exist then."""

    what: str
    pick: int = 0

    def strike(self, world: World) -> None:
        names = sorted(world.hosts)
        host = world.hosts[names[self.pick % len(names)]] if names else None
        match self.what:
            case "kill" if host is not None:
                world.kill(host.pod.name)
            case "back-off" if host is not None:
                world.kill(host.pod.name, down_for=3)
            case "kill shard" if host is not None:
                for one in world.shard(host.pod.shard or 0):
                    world.kill(one.pod.name)
            case "delete" if host is not None:
                world.delete(host.pod.name)
            case "delete all":
                for name in names:
                    world.delete(name)
            case "evict" if host is not None and host.pod.phase != "Failed":
                world.evict(host.pod.name)
            case "silence" if host is not None:
                host.is_silent = True
            case "lose node" if host is not None and len(world.nodes) > 1 and host.pod.node in world.nodes:
                world.lose_node(host.pod.node)
            case "new leader":
                world.lease_transitions += 1
            case "replicas":
                world.edit(replicasPerShard=self.pick % 3)
            case "image":
                world.edit(image=f"redoubt-server:{self.pick % 3}")
            case "shards":
                world.edit(shards=1 + self.pick % 5)
            case "moves fail":
                world.moves_fail = not world.moves_fail
            case "slow moves":
                world.move_steps = 1 + self.pick % 4
            case "rebalance":
                world.annotate(rebalance=str(self.pick))
            case "write":
                world.write(10)


FAULTS = st.builds(
    Fault,
    st.sampled_from(
        [
            *("kill", "back-off", "kill shard", "delete", "delete all", "evict", "silence", "lose node"),
            *("new leader", "replicas", "image", "write", "nothing"),
        ]
    ),
    st.integers(0, 11),
)

CHANGES = st.one_of(
    FAULTS,
    st.builds(
        Fault,
        st.sampled_from(["shards", "shards", "moves fail", "slow moves", "rebalance", "write", "nothing"]),
        st.integers(0, 11),
    ),
)

SPECS = st.fixed_dictionaries(
    {
        "shards": st.sampled_from([1, 2, 3]),
        "replicasPerShard": st.sampled_from([0, 1, 2]),
        "storage": st.sampled_from([None, {"size": "1Gi"}]),
    }
).map(lambda spec: {**SMALL, **{name: value for name, value in spec.items() if value is not None}})


class Judge(World):
    """A world that refuses to let an unsafe action happen."""

    def _act(self, action: Action) -> None:
        match action:
            case AddSlots():
                self._judge_slots(action)
            case MigrateSlots():
                self._judge_move(action)
            case DeletePod() if "has forgotten" in action.because:
                self._judge_removal(action)
            case DeletePod():
                self._judge_delete(action)
            case DeleteClaim():
                self._judge_claim(action)
            case Forget():
                self._judge_forget(action)
            case AssignMaster(is_newest=True):
                self._judge_newest(action)
            case _:
                pass
        super()._act(action)

    def _judge_slots(self, action: AddSlots) -> None:
        """slots-never-orphaned: slots are given out anew only where no copy of their data is left."""
        for disk in [host.disk for host in self.hosts.values()] + [disk for _, disk in self.volumes.values()]:
            shard = next((h.pod.shard for h in self.hosts.values() if h.disk is disk), None)
            shard = next((c.shard for c, other in self.volumes.values() if other is disk), shard)
            assert shard != action.shard or disk.keys == 0, f"slots given anew beside a copy: {action}"

    def _judge_move(self, action: MigrateSlots) -> None:
        """slots-never-orphaned: slots go to a member of a shard that stays, from another shard's."""
        source = next(host for host in self.hosts.values() if host.pod.uid == action.target.uid)
        sinks = [host for host in self.hosts.values() if host.disk.node_id == action.to_node_id]
        assert sinks and sinks[0].pod.shard != source.pod.shard, action
        wanted = self._valid_spec().shards
        assert (sinks[0].pod.shard or 0) < wanted, f"slots go to a shard that leaves: {action}"
        if (source.pod.shard or 0) >= wanted:
            silent = [host.pod.name for host in self.hosts.values() if host.is_silent and host.server]
            assert silent == [], f"scale-in on a partial view: {action}"

    def _judge_removal(self, action: DeletePod) -> None:
        """scale-in-only-when-empty-and-it-fits: no slot, no key, and nobody gives it any slots."""
        host = self.hosts.get(action.pod)
        if host is None:
            return
        gone = self.shard(host.pod.shard or 0)
        for one in gone:
            assert one.server is None or not (one.server.slots or one.server.keys), f"not empty: {action}"
        ids = {one.disk.node_id for one in gone}
        others = [one.server for one in self.hosts.values() if one not in gone and one.server]
        assert not any(line.slots for one in others for line in map(one.lines.get, ids) if line), action

    def _judge_delete(self, action: DeletePod) -> None:
        host = self.hosts.get(action.pod)
        if host is None or host.server is None or host.pod.node not in self.nodes:
            return  # it does not run
        assert not host.server.is_serving, f"no-master-restarted-before-switchover: {action.because}"
        others = [one for one in self.shard(host.pod.shard or 0) if one is not host]
        staying = [
            one for one in others if not one.pod.is_terminating and one.pod.phase is not PodPhase.FAILED
        ]
        well = [one for one in staying if is_well(one)]
        wanted = self._valid_spec().members_per_shard
        if len(staying) < wanted:
            assert len(well) == len(staying) == len(others), f"one-member-down-at-a-time: {action.because}"
        else:
            assert len(well) >= min(wanted, 2), f"too few members in sync would stay: {action.because}"

    def _judge_claim(self, action: DeleteClaim) -> None:
        claim, disk = self.volumes[action.claim]
        master = self.master(claim.shard or 0)
        assert master is not None and master.server is not None, action
        assert master.server.offset >= disk.offset, f"a newer copy was deleted: {action.because}"

    def _judge_forget(self, action: Forget) -> None:
        if "is empty and goes" in action.because:
            gone = next((one for one in self.hosts.values() if one.disk.node_id == action.node_id), None)
            if gone is not None and gone.server is not None:
                assert not gone.server.slots and not gone.server.keys, f"not empty: {action}"
            return
        ids = {host.disk.node_id for host in self.hosts.values()}
        ids |= {disk.node_id for _, disk in self.volumes.values()}
        assert action.node_id not in ids, f"a member that exists is forgotten: {action}"

    def _judge_newest(self, action: AssignMaster) -> None:
        disks = [host.disk for host in self.shard(action.shard or 0)]
        disks += [
            disk
            for claim, disk in self.volumes.values()
            if claim.shard == action.shard and not claim.is_retired
        ]
        chosen = next(host.disk for host in self.hosts.values() if host.pod.uid == action.target.uid)
        best = max((disk.data_epoch, disk.offset) for disk in disks)
        assert (chosen.data_epoch, chosen.offset) == best, f"an older copy was chosen: {action}"


def is_well(host: Host) -> bool:
    server = host.server
    return server is not None and (server.is_serving or (server.synced and server.link_up))


HISTORIES = st.lists(st.tuples(FAULTS, st.integers(0, 12), st.booleans()), max_size=8)


def live_through(world: World, history: list[tuple[Fault, int, bool]]) -> None:
    """Strike, let the operator do a part of its plan and die, let a moment pass; again and again."""
    world.converge()
    world.write(100)
    for fault, prefix, loses_status in history:
        fault.strike(world)
        world.reconcile(prefix, loses_status=loses_status)
        world.step()


def recover(world: World) -> None:
    for host in world.hosts.values():
        host.is_silent = False
    world.moves_fail = False
    world.settle()


@pytest.mark.parametrize("elects", [True, False])
@given(spec=SPECS, history=HISTORIES)
@EXAMPLES
def test_any_prefix_then_crash_converges(elects, spec, history):
    """Also slots-never-orphaned and no-master-restarted-before-switchover, judged at every action."""
    world = Judge(spec, elects=elects)
    live_through(world, history)
    recover(world)
    assert all(world.master(index) is not None for index in range(spec["shards"]))
    assert (
        sum(count(h.server.slots) for h in world.hosts.values() if h.server and h.server.is_serving) == SLOTS
    )


@given(spec=SPECS, history=HISTORIES)
@example(
    spec={**SMALL, "shards": 2, "replicasPerShard": 1},
    history=[  # the claim of a dead master comes back under the epoch of the one that serves
        (Fault("back-off", 2), 2, False),
        (Fault("lose node", 0), 0, False),
        (Fault("back-off", 1), 0, False),
    ],
)
@EXAMPLES
def test_second_reconcile_writes_nothing(spec, history):
    world = Judge(spec)
    live_through(world, history)
    recover(world)
    for _ in range(3):
        wanted = plan(world.spec, world.observe(), world.now_s)
        assert (wanted.actions, wanted.status) == ((), None)
        world.now_s += 61


@given(spec=SPECS, history=HISTORIES, hidden=st.sets(st.integers(0, 8), min_size=1, max_size=3))
@EXAMPLES
def test_no_destructive_step_on_partial_view(spec, history, hidden):
    world = Judge(spec)
    live_through(world, history)
    names = sorted(name for name, host in world.hosts.items() if host.server is not None)
    for pick in hidden:
        if names:
            world.hosts[names[pick % len(names)]].is_silent = True
    blind = {host.pod.shard for host in world.hosts.values() if host.is_silent and host.server is not None}
    for action in plan(world.spec, world.observe(), world.now_s).actions:
        assert not isinstance(action, Forget) or not blind or "lost" in action.because
        if isinstance(action, DeletePod):
            assert action.shard not in blind or world.hosts[action.pod].server is None
        if isinstance(action, AddSlots | DeleteClaim) or (
            isinstance(action, AssignMaster) and action.is_newest
        ):
            assert action.shard not in blind, action


@given(spec=SPECS, dropped=st.sampled_from(["labels", "data", "spec"]))
@EXAMPLES
def test_operator_upgrade_restarts_no_pod(spec, dropped):
    """Objects as an operator of another version rendered them are applied again, and that is all."""
    world = Judge(spec)
    world.converge()
    for key, manifest in world.objects.items():
        older = {name: part for name, part in manifest.items() if name != dropped}
        metadata = {name: part for name, part in manifest["metadata"].items() if name != dropped}
        world.objects[key] = {**older, "metadata": metadata}
    world.lease_transitions += 1
    wanted = plan(world.spec, world.observe(), world.now_s)
    assert {type(action) for action in wanted.actions} <= {ApplyObject, RaiseLease}


CHANGING = st.lists(st.tuples(CHANGES, st.integers(0, 12), st.booleans()), max_size=10)


@given(spec=SPECS, history=CHANGING)
@example(
    spec={**SMALL, "shards": 2, "replicasPerShard": 0, "storage": {"size": "1Gi"}},
    history=[  # masters that were restarted give all their slots away
        (Fault("kill", 1), 0, True),
        (Fault("kill", 0), 0, False),
        (Fault("shards", 9), 0, True),
        (Fault("kill", 0), 9, False),
        (Fault("shards", 0), 0, False),
    ],
)
@example(
    spec={**SMALL, "shards": 1, "replicasPerShard": 0, "storage": {"size": "1Gi"}},
    history=[  # the pod of a shard that has just joined is deleted, and its volume stays
        (Fault("shards", 1), 0, False),
        (Fault("new leader"), 5, False),
        (Fault("new leader"), 4, False),
        (Fault("delete", 1), 1, False),
    ],
)
@EXAMPLES
def test_slots_never_orphaned(spec, history):
    """Also scale-in-only-when-empty-and-it-fits, judged at every action, while the shards change, too."""
    world = Judge(spec)
    live_through(world, history)
    recover(world)
    wanted = world._valid_spec().shards
    serving = [host for host in world.hosts.values() if host.server and host.server.is_serving]
    assert sorted(host.pod.shard for host in serving) == list(range(wanted))
    assert sum(host.server.slots for host in serving) == ALL_SLOTS, "every slot once"
    for _ in range(2):
        again = plan(world.spec, world.observe(), world.now_s)
        assert (again.actions, again.status) == ((), None), "second-reconcile-writes-nothing"
        world.now_s += 61


@given(spec=SPECS, shards=st.lists(st.integers(1, 6), min_size=1, max_size=4), waits=st.integers(0, 12))
@EXAMPLES
def test_scale_in_only_when_empty_and_it_fits(spec, shards, waits):
    """Without faults no key is lost, however often and however fast people change their mind."""
    world = Judge(spec)
    world.converge()
    world.write(100)
    before = keys_of(world)
    for number in shards:
        world.edit(shards=number)
        for _ in range(waits):
            world.reconcile()
            world.step()
    world.converge(rounds=200)
    assert {host.pod.shard for host in world.hosts.values()} == set(range(shards[-1]))
    assert keys_of(world) == before
    assert world.condition("DataLost") == "False"


def keys_of(world: World) -> int:
    return sum(host.server.keys for host in world.hosts.values() if host.server and host.server.is_serving)


@given(spec=SPECS, images=st.lists(st.integers(0, 2), min_size=1, max_size=3))
@EXAMPLES
def test_one_member_of_a_shard_down_at_a_time(spec, images):
    """A roll replaces every pod, never two of a shard together, never a serving master, and loses no key."""
    world = Judge(spec)
    world.converge()
    world.write(100)
    for image in images:
        world.edit(image=f"redoubt-server:{image}")
        for _ in range(4):
            world.reconcile()
            world.step()
    world.converge(rounds=120)
    wanted = pods.revision(world._valid_spec())
    assert {host.pod.revision for host in world.hosts.values()} == {wanted}
    assert [world.master(index).server.keys for index in range(spec["shards"])] == [100] * spec["shards"]
    assert world.condition("DataLost") == "False"
