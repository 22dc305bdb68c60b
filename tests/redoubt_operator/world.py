"""A small world for the planner: pods, volumes and servers as a model, with time in steps.

The model keeps to the rules of the servers that the planner relies on: a pod's server boots without a role,
a restarted master yields, roles are compare-and-set, an id is learned by MEET and gossip, slots belong to
the highest config epoch. `observe` shows it as the operator would see it, `apply` carries out a plan (or the
first part of it, as if the operator had died), `step` lets one moment pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from redoubt_operator import actions as do
from redoubt_operator import directives, names
from redoubt_operator.actions import Action, Lane, Plan, lane_of
from redoubt_operator.moves import is_moving, is_planning
from redoubt_operator.observation import (
    NOT_ASKED,
    AuthSecret,
    Claim,
    ClusterMeta,
    ConfigRefusal,
    Container,
    ContainerState,
    HostNode,
    KnownNode,
    Member,
    MemberStatus,
    Observation,
    Phase,
    Pod,
    PodPhase,
    Role,
    SlotFigures,
    Termination,
    Unknown,
)
from redoubt_operator.plan import plan
from redoubt_operator.spec import ClusterSpec, InvalidSpec, read_spec
from tests.redoubt_operator.data_plane import (
    DataPlane,
    Disk,
    Host,
    Line,
    Refusal,
    Server,
    count,
    export_row,
    mask,
    ranges,
)

START_S = 1_700_000_000.0


class World:
    """One cluster resource and everything that belongs to it."""

    def __init__(self, spec: Mapping[str, Any], *, nodes: int = 3, elects: bool = True) -> None:
        self.raw = dict(spec)
        self.meta = ClusterMeta("default", "demo", "uid-demo", 1)
        self.now_s = START_S
        self.elects = elects
        self.lease_transitions = 1
        self.hosts: dict[str, Host] = {}
        self.plane = DataPlane(self.hosts)
        self.volumes: dict[str, tuple[Claim, Disk]] = {}
        self.objects: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.has_password = False
        self.status: Mapping[str, Any] = {}
        self.nodes = {f"node-{number}": HostNode(f"node-{number}") for number in range(nodes)}
        self.sees_nodes = True
        self.keeps_apart = False  # whether the scheduler follows the preference to keep members apart
        self.refused_directives: dict[str, str] = {}  # by name: what servers answer to it
        self.refusals: list[ConfigRefusal] = []
        self.events: list[do.RecordEvent] = []
        self.log: list[Action] = []
        self.counter = 0
        self.move_steps = 2  # moments that a move of slots takes
        self.moves_fail = False
        self.key_bytes = 100

    # --- what people do ---------------------------------------------------------------------------------

    @property
    def spec(self) -> ClusterSpec | InvalidSpec:
        return read_spec(self.raw)

    def edit(self, **fields: Any) -> None:
        self.raw = {**self.raw, **fields}
        self.meta = replace(self.meta, generation=self.meta.generation + 1)

    def annotate(self, **annotations: str) -> None:
        kept = {f"redoubt.dev/{name}": value for name, value in annotations.items()}
        self.meta = replace(self.meta, annotations=kept)

    # --- faults ------------------------------------------------------------------------------------------

    def kill(self, pod: str, down_for: int = 0, reason: str = "Error") -> None:
        """SIGKILL of the process; the container is restarted in place after `down_for` steps."""
        host = self.hosts[pod]
        if host.server is None:
            return
        self.plane.save_map(host)
        if not host.pod.claim:
            host.disk.data_epoch = host.disk.offset = 0
            host.disk.table = {}
        host.server = None
        host.down_for = down_for
        container = host.pod.container
        last = Termination(137, reason, self.now_s, container.started_at_s or self.now_s)
        state = ContainerState.TERMINATED if down_for == 0 else ContainerState.WAITING
        waiting = "CrashLoopBackOff" if down_for else reason
        host.pod = replace(
            host.pod,
            is_ready=False,
            container=Container(state, waiting, "", None, container.restart_count, last),
        )

    def delete(self, pod: str, *, is_forced: bool = False) -> None:
        """kubectl delete pod: at the next step it hands over, saves and goes."""
        host = self.hosts[pod]
        if is_forced:
            self._remove(pod)
        elif host.pod.deleting_since_s is None:
            host.pod = replace(host.pod, deleting_since_s=self.now_s, grace_period_s=30)

    def lose_node(self, node: str) -> None:
        """The machine is gone and so is its Node; pods stay as they were last reported."""
        del self.nodes[node]
        for host in self.hosts.values():
            if host.pod.node == node:
                self._stop_for_good(host)

    def evict(self, pod: str) -> None:
        host = self.hosts[pod]
        self._stop_for_good(host)
        host.pod = replace(host.pod, phase=PodPhase.FAILED, reason="Evicted", is_ready=False)

    def _stop_for_good(self, host: Host) -> None:
        """The process ends and its emptyDir is gone; a volume keeps what was written."""
        host.server = None
        if not host.pod.claim:
            host.disk = Disk()

    # --- time --------------------------------------------------------------------------------------------

    def reconcile(self, prefix: int | None = None, *, loses_status: bool = False) -> Plan:
        """Observe, plan, act. With `prefix` the operator dies after that many actions."""
        wanted = plan(self.spec, self.observe(), self.now_s)
        self.apply(wanted.actions if prefix is None else wanted.actions[:prefix])
        if wanted.status is not None and not loses_status:
            self.status = wanted.status
        return wanted

    def step(self) -> None:
        """One moment: pods start and go, gossip settles, elections are held, replicas sync."""
        self.now_s += 1.0
        for name in list(self.hosts):
            host = self.hosts[name]
            host.age += 1
            if host.pod.unschedulable:
                host.pod = self._scheduled(host.pod)
            if host.pod.is_terminating:
                if host.pod.node in self.nodes and not host.is_silent:
                    self.plane.hand_over_from(host)
                    self._remove(name)
            elif (
                host.server is None and host.pod.phase is not PodPhase.FAILED and host.pod.node in self.nodes
            ):
                self._start(host)
        self.plane.advance_moves(fail=self.moves_fail)
        self.plane.gossip()
        if self.elects:
            self.plane.elect()
        self.plane.gossip()
        self.plane.follow()

    def converge(self, rounds: int = 60) -> None:
        """Reconcile until nothing is left to do; fails when that never comes."""
        quiet = 0  # a roll may wait for some moments between two steps
        for _ in range(rounds):
            wanted = self.reconcile()
            is_quiet = not wanted.actions and wanted.status is None and self.condition("Ready") == "True"
            quiet = quiet + 1 if is_quiet else 0
            if is_quiet and (quiet > 5 or self.condition("Reconciling") == "False"):
                return
            self.step()
        raise AssertionError(f"did not converge: {self.status.get('message')}; {wanted.actions}")

    def settle(self) -> None:
        """Converge, let the calm pass in which masters are evened out, and converge again."""
        for _ in range(20):
            self.converge(rounds=120)
            self.now_s += 61.0
            if not plan(self.spec, self.observe(), self.now_s).actions:
                return
        raise AssertionError("masters go back and forth")

    # --- what is seen ------------------------------------------------------------------------------------

    def observe(self) -> Observation:
        def of(kind: str) -> tuple[Mapping[str, Any], ...]:
            return tuple(one for (what, _), one in sorted(self.objects.items()) if what == kind)

        used = {host.pod.node for host in self.hosts.values()}
        nodes = tuple(node for name, node in sorted(self.nodes.items()) if name in used)
        auth = AuthSecret("demo-auth", "1", "hash") if self.has_password else None
        return Observation(
            meta=self.meta,
            lease_transitions=self.lease_transitions,
            pods=tuple(host.pod for host in self.hosts.values()),
            claims=tuple(claim for claim, _ in self.volumes.values()),
            services=of("Service"),
            config_maps=of("ConfigMap"),
            budgets=tuple(self._counted(one) for one in of("PodDisruptionBudget")),
            auth=auth,
            nodes=nodes if self.sees_nodes else Unknown("forbidden", START_S),
            members=tuple(self._member(host) for host in self.hosts.values() if host.pod.ip),
            status=self.status,
            refusals=tuple(self.refusals),
        )

    def _counted(self, budget: Mapping[str, Any]) -> Mapping[str, Any]:
        """A budget with the status that the disruption controller would give it."""
        metadata = {**budget["metadata"], "uid": f"uid-{budget['metadata']['name']}"}
        status = {"disruptionsAllowed": self.evictable(budget)}
        return {**budget, "metadata": metadata, "status": status}

    def evictable(self, budget: Mapping[str, Any]) -> int:
        """How many pods an API server would let go now: those that are ready, beyond the minimum."""
        index = int(budget["metadata"]["name"].rpartition("-")[2])
        ready = [one for one in self.shard(index) if is_ready(one) and not one.pod.is_terminating]
        return max(0, len(ready) - int(budget.get("spec", {}).get("minAvailable", len(ready))))

    def evict_within_budget(self, pod: str) -> bool:
        """The eviction subresource, as kubectl drain uses it: False is its answer 429."""
        host = self.hosts[pod]
        budget = self.objects.get(("PodDisruptionBudget", f"demo-{host.pod.shard}"))
        if budget is not None and not host.pod.is_terminating:
            ready = len([one for one in self.shard(host.pod.shard or 0) if is_ready(one)])
            is_spare = not is_ready(host) and ready >= int(budget["spec"]["minAvailable"])
            if not is_spare and self.evictable(budget) < 1:
                return False
        self.delete(pod)
        return True

    def condition(self, type_: str) -> str | None:
        found = (one["status"] for one in self.status.get("conditions", ()) if one["type"] == type_)
        return next(found, None)

    def shard(self, index: int) -> list[Host]:
        return self.plane.shard(index)

    def master(self, index: int) -> Host | None:
        return self.plane.master(index)

    # --- acting ------------------------------------------------------------------------------------------

    def apply(self, wanted: Iterable[Action]) -> None:
        """Carry out actions lane by lane, in order; a refusal ends its lane."""
        ended: set[Lane] = set()
        for action in wanted:
            if lane_of(action) in ended:
                continue
            self.log.append(action)
            try:
                self._act(action)
            except Refusal:
                ended.add(lane_of(action))

    def _act(self, action: Action) -> None:
        match action:
            case do.ApplyObject(manifest=manifest):
                self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
            case do.CreateSecret():
                self.has_password = True
            case do.CreateClaim(manifest=manifest):
                self._create_claim(manifest)
            case do.CreatePod(manifest=manifest):
                self._create_pod(manifest)
            case do.DeletePod(pod=name, uid=uid, is_within_budget=True):
                is_there = name in self.hosts and self.hosts[name].pod.uid == uid
                if is_there and not self.evict_within_budget(name):
                    raise Refusal("429")
            case do.DeletePod(pod=name, uid=uid, grace_period_s=grace):
                if name in self.hosts and self.hosts[name].pod.uid == uid:
                    self.delete(name, is_forced=grace == 0)
            case do.DeleteClaim(claim=name):
                self.volumes.pop(name, None)
            case do.DeleteBudget(budget=name):
                self.objects.pop(("PodDisruptionBudget", name), None)
            case do.LabelPod(pod=name, labels=labels):
                if name in self.hosts:
                    host = self.hosts[name]
                    host.pod = replace(host.pod, role_label=labels[names.LABEL_ROLE])
            case do.PatchClaim():
                self._patch_claim(action)
            case do.RecordEvent():
                self.events.append(action)
            case _:
                self._command(action)

    def _create_pod(self, manifest: Mapping[str, Any]) -> None:
        metadata = manifest["metadata"]
        if metadata["name"] in self.hosts:
            return
        self.counter += 1
        volume = manifest["spec"]["volumes"][0].get("persistentVolumeClaim", {}).get("claimName", "")
        pod = Pod(
            name=metadata["name"],
            uid=f"uid-{self.counter}",
            resource_version=str(self.counter),
            shard=int(metadata["labels"][names.LABEL_SHARD]),
            serial=int(metadata["labels"][names.LABEL_SERIAL]),
            revision=metadata["annotations"][names.ANNOTATION_REVISION],
            template=int(metadata["annotations"].get(names.ANNOTATION_TEMPLATE, 1)),
            created_at_s=self.now_s,
            claim=volume,
            owner_uid=metadata["ownerReferences"][0]["uid"],
        )
        disk = self.volumes[volume][1] if volume else Disk()
        self.hosts[pod.name] = Host(self._scheduled(pod), disk)

    def _scheduled(self, pod: Pod) -> Pod:
        """The pod on a node: apart from its shard's other members, else where its number falls."""
        able = [name for name, node in sorted(self.nodes.items()) if not node.is_cordoned]
        if not able:
            return replace(pod, unschedulable=f"0/{len(self.nodes)} nodes are available")
        used = {host.pod.node for host in self.shard(pod.shard or 0)}
        free = [name for name in able if name not in used] if self.keeps_apart else []
        chosen = free or able
        return replace(pod, node=chosen[int(pod.uid.removeprefix("uid-")) % len(chosen)], unschedulable="")

    def _create_claim(self, manifest: Mapping[str, Any]) -> None:
        metadata = manifest["metadata"]
        if metadata["name"] in self.volumes:
            return
        owners = metadata.get("ownerReferences", [{}])
        claim = Claim(
            name=metadata["name"],
            uid=f"uid-{metadata['name']}",
            resource_version="1",
            shard=int(metadata["labels"][names.LABEL_SHARD]),
            serial=int(metadata["labels"][names.LABEL_SERIAL]),
            size_requested=manifest["spec"]["resources"]["requests"]["storage"],
            owner_uid=owners[0].get("uid", ""),
        )
        self.volumes[claim.name] = (claim, Disk())

    def _patch_claim(self, action: do.PatchClaim) -> None:
        claim, disk = self.volumes[action.claim]
        if "spec" in action.patch:
            size = action.patch["spec"]["resources"]["requests"]["storage"]
            claim = replace(claim, size_requested=size)
        if "ownerReferences" in action.patch.get("metadata", {}):
            owners = action.patch["metadata"]["ownerReferences"]
            claim = replace(claim, owner_uid=owners[0]["uid"] if owners else "")
        if action.patch.get("metadata", {}).get("labels"):
            claim = replace(claim, is_retired=names.LABEL_RETIRED in action.patch["metadata"]["labels"])
        self.volumes[action.claim] = (claim, disk)

    def _command(self, action: Action) -> None:
        assert not isinstance(action, do.RecordEvent)
        uid = action.target.uid  # type: ignore[union-attr]
        host = next((one for one in self.hosts.values() if one.pod.uid == uid), None)
        if host is None or host.server is None or host.is_silent:
            raise Refusal("not reached")
        server = host.server
        match action:
            case do.RaiseLease(lease_transitions=transitions):
                if transitions < server.lease:
                    raise Refusal("STALE")
                server.lease = transitions
            case do.SetConfigEpoch(config_epoch=epoch):
                if not server.lines and server.config_epoch == 0:
                    server.config_epoch = server.current_epoch = epoch
            case do.AssignMaster():
                self.plane.assign_master(server, action)
            case do.AssignReplica():
                self.plane.assign_replica(server, action)
            case do.AddSlots(slots=slots):
                self.plane.add_slots(server, slots)
            case do.Meet(ip=ip):
                self.plane.meet(server, ip)
            case do.Forget(node_id=node_id):
                server.lines.pop(node_id, None)
                server.forgotten.add(node_id)
            case do.ForceFailover():
                self.plane.force(server)
            case do.Handover(to_node_id=node_id):
                self.plane.promote(self.plane.by_id(node_id))
            case do.MigrateSlots(slots=slots, to_node_id=node_id):
                self.plane.migrate_slots(server, mask(slots), node_id, self.move_steps)
            case do.CloseSlot(slot=slot, owner=owner):
                if owner is not None:
                    back = next(one.server for one in self.hosts.values() if one.pod.uid == owner.uid)
                    assert back is not None
                    back.table[slot] = back.table.get(slot, 0) + server.table.pop(slot, 0)
                server.open_slots.pop(slot, None)
            case do.CancelMoves():
                self.plane.cancel_exports(server)
            case do.SetConfig(directives=pairs):
                refused = [text for name, text in self.refused_directives.items() if name in dict(pairs)]
                if refused:
                    self.refusals.append(ConfigRefusal(uid, pairs, refused[0]))
                    raise Refusal(refused[0])
                server.config.update(pairs)
        self.plane.save_map(host)

    def _start(self, host: Host) -> None:
        if host.down_for > 0:
            host.down_for -= 1
            return
        self.counter += 1
        disk = host.disk
        container = host.pod.container
        ip = host.pod.ip or f"10.0.{self.counter // 250}.{self.counter % 250 + 1}"
        server = Server(disk.node_id or f"id-{self.counter:03d}", ip)
        server.config = dict(directives.live_directives(self._valid_spec()))
        server.lines = {one: replace(line) for one, line in disk.lines.items()}
        server.config_epoch, server.current_epoch = disk.config_epoch, disk.current_epoch
        server.lease, server.master_id = disk.lease, disk.master_id
        server.boot_slots = disk.slots
        server.data_epoch, server.offset, server.table = disk.data_epoch, disk.offset, dict(disk.table)
        if disk.slots:
            has_replicas = any(line.master_id == server.node_id for line in server.lines.values())
            server.phase = Phase.YIELDING if has_replicas else Phase.RESUMING
        host.server = server
        has_run = container.last_termination is not None
        host.pod = replace(
            host.pod,
            ip=ip,
            phase=PodPhase.RUNNING,
            container=Container(
                ContainerState.RUNNING,
                "",
                "",
                self.now_s,
                container.restart_count + has_run,
                container.last_termination,
            ),
        )
        self.plane.save_map(host)

    def _valid_spec(self) -> ClusterSpec:
        spec = self.spec
        assert isinstance(spec, ClusterSpec)
        return spec

    def _remove(self, name: str) -> None:
        host = self.hosts.pop(name)
        self.plane.save_map(host)

    def write(self, keys: int = 1) -> None:
        """Clients write; serving masters and their synced replicas take it."""
        for server in self.plane.running():
            if server.is_serving:
                slots = ranges(server.slots)
                for number in range(keys):  # to both ends of every range, so that each move takes some along
                    one = slots[number // 2 % len(slots)]
                    slot = one.first if number % 2 else one.last
                    server.table[slot] = server.table.get(slot, 0) + 1
                server.offset += keys
        self.plane.follow()

    def _member(self, host: Host) -> Member:
        server = host.server
        if server is None or host.is_silent:
            nothing = Unknown("no answer", self.now_s - 10)
            return Member(host.pod.uid, nothing, nothing, nothing, nothing)
        status = MemberStatus(
            node_id=server.node_id,
            phase=server.phase,
            role=server.role,
            config_epoch=server.config_epoch,
            current_epoch=server.current_epoch,
            data_epoch=server.data_epoch,
            repl_offset=server.offset,
            synced=server.synced,
            link_up=server.link_up,
            master_id=server.master_id,
            slots=count(server.slots),
            keys=server.keys,
            lease_transitions=server.lease,
            boot_slots=count(server.boot_slots),
            data_lost=server.data_lost,
            cluster_ok=server.cluster_ok,
            exports=sum(one.is_active for one in server.exports),
        )
        is_asked = is_moving(self.status) or is_planning(self.status)
        figures = tuple(
            SlotFigures(slot, server.table.get(slot, 0), self.key_bytes * server.table.get(slot, 0))
            for one in (ranges(server.slots) if is_planning(self.status) else ())
            for slot in range(one.first, one.last + 1)
        )
        mine = KnownNode(
            server.node_id,
            server.ip,
            6379,
            16379,
            ("myself", "master" if server.role is Role.MASTER else "slave"),
            server.master_id,
            server.config_epoch,
            True,
            ranges(server.slots),
            tuple(f"[{slot}{way}]" for slot, way in sorted(server.open_slots.items())),
        )
        lines = tuple(_known(node_id, line) for node_id, line in sorted(server.lines.items()))
        sample: Any = server.sample or Unknown("not scraped", self.now_s)
        moves = tuple(export_row(server, one) for one in reversed(server.exports))
        return Member(
            host.pod.uid,
            status,
            (mine, *lines),
            dict(server.config),
            sample,
            moves if is_asked else NOT_ASKED,
            figures or NOT_ASKED,
        )


def is_ready(host: Host) -> bool:
    """What the readiness probe would say: a master that serves, or a replica in sync."""
    server = host.server
    if server is None or host.pod.phase is not PodPhase.RUNNING:
        return False
    return server.leads or (server.role is Role.REPLICA and server.synced)


def _known(node_id: str, line: Line) -> KnownNode:
    role = "slave" if line.master_id else "master"
    flags = (role, "fail") if line.is_failed else (role,)
    return KnownNode(
        node_id,
        line.ip,
        6379,
        16379,
        flags,
        line.master_id,
        line.config_epoch,
        not line.is_failed,
        ranges(line.slots),
    )


SMALL = {"resources": {"limits": {"memory": "256Mi"}}}


def running(spec: Mapping[str, Any] | None = None, **options: Any) -> World:
    """A world whose cluster is created, ready and has data."""
    world = World({**SMALL, **(spec or {})}, **options)
    world.converge()
    world.write(100)
    world.converge()
    return world
