"""The invariants of planned work over generated histories: drains, zones, bad images, reverts, switchovers.

The same names as in ARCHITECTURE and the same judge as test_plan_properties.py, who judges each action by
what is true at its moment. On top, drains evict what the budgets let go, at any time and several at once, and
no shard may ever be left without a member that is in sync.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redoubt_operator import pods
from redoubt_operator.actions import Action, DeletePod, Handover
from redoubt_operator.observation import Container, ContainerState, Termination
from tests.redoubt_operator.test_plan_properties import Judge, is_well
from tests.redoubt_operator.world import SMALL

EXAMPLES = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

BAD = "redoubt-server:missing"
ZONES = ("a", "b", "c", "a", "b")


class Planned(Judge):
    """A world in which nodes have zones, drains go on by themselves and some images do not start."""

    def __init__(self, spec) -> None:
        super().__init__(spec, nodes=5)
        self.keeps_apart = True
        self.drained: set[str] = set()
        self.without_image: set[str] = set()
        for number, zone in enumerate(ZONES):
            self.nodes[f"node-{number}"] = replace(self.nodes[f"node-{number}"], zone=zone)

    def step(self) -> None:
        for name in sorted(self.hosts):
            if self.hosts[name].pod.node in self.drained:
                self.evict_within_budget(name)
        self._judge_shards("a drain")
        super().step()
        for host in self.hosts.values():
            if host.pod.uid in self.without_image:
                waiting = Container(ContainerState.WAITING, "ImagePullBackOff", "no such image")
                host.pod = replace(host.pod, container=waiting)

    def _create_pod(self, manifest) -> None:
        super()._create_pod(manifest)
        host = self.hosts[manifest["metadata"]["name"]]
        if manifest["spec"]["containers"][0]["image"] == BAD and host.age == 0:
            host.down_for = 10**6
            self.without_image.add(host.pod.uid)

    def _act(self, action: Action) -> None:
        super()._act(action)
        if isinstance(action, DeletePod | Handover):
            self._judge_shards(action.because)

    def _judge_shards(self, because: str) -> None:
        """Whoever goes on purpose, one that is in sync stays."""
        for index in range(self._valid_spec().shards):
            members = self.shard(index)
            if any(is_well(one) for one in members):
                staying = [one for one in members if not one.pod.is_terminating and is_well(one)]
                assert staying, f"shard {index} loses its last member in sync: {because}"


@dataclass(frozen=True)
class Work:
    """Something that people do; `pick` chooses where."""

    what: str
    pick: int = 0

    def begin(self, world: Planned) -> None:
        node = f"node-{self.pick % len(ZONES)}"
        match self.what:
            case "drain" if len(world.drained) < 2:
                world.drained.add(node)
                world.nodes[node] = replace(world.nodes[node], is_cordoned=True)
            case "cordon" if sum(one.is_cordoned for one in world.nodes.values()) < 2:
                world.nodes[node] = replace(world.nodes[node], is_cordoned=True)
            case "uncordon":
                world.drained.discard(node)
                world.nodes[node] = replace(world.nodes[node], is_cordoned=False)
            case "image":
                world.edit(image=f"redoubt-server:{self.pick % 3}")
            case "bad image":
                world.edit(image=BAD)
            case "revert":
                world.edit(image="redoubt-server:0.1.0")
            case "switchover":
                world.annotate(switchover=f"{self.pick % 3} {world.now_s}")
            case "new leader":
                world.lease_transitions += 1
            case "calm":
                world.now_s += 61
            case "write":
                world.write(10)


WORKS = st.builds(
    Work,
    st.sampled_from(
        [
            *("drain", "drain", "cordon", "uncordon", "image", "bad image", "revert"),
            *("switchover", "new leader", "calm", "write"),
        ]
    ),
    st.integers(0, 9),
)

SPECS = st.fixed_dictionaries(
    {
        "shards": st.sampled_from([1, 3]),
        "replicasPerShard": st.sampled_from([0, 1, 2]),
        "storage": st.sampled_from([None, {"size": "1Gi"}]),
    }
).map(lambda spec: {**SMALL, **{name: value for name, value in spec.items() if value is not None}})

HISTORIES = st.lists(st.tuples(WORKS, st.integers(0, 12), st.integers(1, 5)), max_size=8)


def keys(world: Planned) -> list[int]:
    shards = range(world._valid_spec().shards)
    masters = [world.master(index) for index in shards]
    return [host.server.keys if host is not None and host.server is not None else -1 for host in masters]


def live_through(world: Planned, history: list[tuple[Work, int, int]]) -> int:
    """Begin works one after another while the operator dies after parts of its plans; returns the keys."""
    world.converge()
    world.write(100)
    written = 100
    for work, prefix, moments in history:
        work.begin(world)
        if work.what == "write":
            assert -1 not in keys(world), "a shard has no master when clients write"
            written += 10
        world.reconcile(prefix)
        for _ in range(moments):
            world.step()
            world.reconcile()
    return written


@pytest.mark.slow
@given(spec=SPECS, history=HISTORIES)
@EXAMPLES
def test_planned_work_in_any_order_loses_no_key_and_comes_to_an_end(spec, history):
    """Also one-member-of-a-shard-down-at-a-time, no-master-restarted-before-switchover, at every action."""
    world = Planned(spec)
    written = live_through(world, history)
    assert keys(world) == [written] * spec["shards"]
    Work("revert").begin(world)
    world.nodes = {name: replace(node, is_cordoned=False) for name, node in world.nodes.items()}
    world.drained.clear()
    world.settle()
    assert keys(world) == [written] * spec["shards"]
    assert world.condition("DataLost") == "False"
    assert {host.pod.revision for host in world.hosts.values()} == {pods.revision(world._valid_spec())}
    assert len(world.hosts) == spec["shards"] * (1 + spec["replicasPerShard"])


@pytest.mark.slow
@given(spec=SPECS, first=st.integers(0, 4), second=st.integers(0, 4), image=st.booleans())
@EXAMPLES
def test_two_drains_end_and_every_shard_keeps_a_master(spec, first, second, image):
    world = Planned(spec)
    world.converge()
    world.write(100)
    for pick in {first, second}:
        Work("drain", pick).begin(world)
    if image:
        Work("image", 1).begin(world)
    for _ in range(150):
        world.reconcile()
        assert all(one >= 0 for one in keys(world)), "a shard is without a master"
        world.step()
        if not any(host.pod.node in world.drained for host in world.hosts.values()):
            break
    assert not [name for name, host in world.hosts.items() if host.pod.node in world.drained]
    world.settle()
    assert keys(world) == [100] * spec["shards"]


@given(spec=SPECS, deaths=st.lists(st.integers(0, 3), max_size=6))
@EXAMPLES
def test_a_bad_image_touches_one_pod_and_the_revert_restarts_no_other(spec, deaths):
    """An operator that dies in between changes nothing about that; a lone master is never touched."""
    world = Planned(spec)
    world.converge()
    before = {host.pod.uid for host in world.hosts.values()}
    Work("bad image").begin(world)
    for prefix in deaths:
        world.reconcile(prefix)
        world.step()
    for _ in range(15):
        world.reconcile()
        world.step()
    after = {host.pod.uid for host in world.hosts.values() if host.server is not None}
    assert len(before - after) <= 1
    assert world.condition("Stalled") == "True"
    Work("revert").begin(world)
    world.converge()
    assert len(before & {host.pod.uid for host in world.hosts.values()}) == len(before & after)
    assert len(world.hosts) == spec["shards"] * (1 + spec["replicasPerShard"])


@given(spec=SPECS, history=HISTORIES)
@EXAMPLES
def test_operator_upgrade_restarts_no_pod_whatever_was_going_on(spec, history):
    """A new operator with a new template changes nothing about what a settled cluster runs."""
    world = Planned(spec)
    live_through(world, [(work, prefix, moments) for work, prefix, moments in history])
    Work("revert").begin(world)
    world.nodes = {name: replace(node, is_cordoned=False) for name, node in world.nodes.items()}
    world.drained.clear()
    world.settle()
    before = {host.pod.uid for host in world.hosts.values()}
    newest, pods.TEMPLATE = pods.TEMPLATE, pods.TEMPLATE + 1
    try:
        world.lease_transitions += 1
        world.settle()
    finally:
        pods.TEMPLATE = newest
    assert {host.pod.uid for host in world.hosts.values()} == before


def test_a_crash_is_told_with_its_exit_code():
    world = Planned({**SMALL, "shards": 1, "replicasPerShard": 1})
    world.converge()
    world.edit(image="redoubt-server:crashes")
    for _ in range(3):
        world.reconcile()
        world.step()
    [new] = [one for one in world.hosts.values() if one.pod.revision == pods.revision(world._valid_spec())]
    world.kill(new.pod.name, down_for=10**6)
    last = Termination(3, "Error", world.now_s, world.now_s - 1)
    new.pod = replace(
        new.pod, container=Container(ContainerState.WAITING, "CrashLoopBackOff", "", None, 4, last)
    )
    world.reconcile()
    [blocker] = [one for one in world.status["blockers"] if one["reason"] == "RollHalted"]
    assert "exit code 3 (Error), 4 restarts" in blocker["evidence"]
