"""The conditions of a cluster, as kstatus and people read them, with hysteresis and stable transition times.

Ready, Reconciling and Stalled follow kstatus (sigs.k8s.io/cli-utils); the others name one aspect each. A
condition keeps its lastTransitionTime while its status stays the same. What is measured (memory, eviction)
turns at one threshold and turns back at another, so that a value at the edge does not flap.

Called by status.py; decides nothing that acts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from redoubt_operator.draft import Draft
from redoubt_operator.live_config import Difference
from redoubt_operator.moves import PLANS_MOVES, progress
from redoubt_operator.observation import Observation, Unknown
from redoubt_operator.placement import SLOTS
from redoubt_operator.replicas import is_outdated, members_wanted
from redoubt_operator.spec import ClusterSpec, EvictionPolicy
from redoubt_operator.view import ClusterView, Fate

MEMORY_HIGH: Final = 0.90  # of maxmemory: unhealthy from here
MEMORY_RELIEVED: Final = 0.80  # healthy again below this
EVICTING_CLEAR_S: Final = 60.0  # Evicting lasts at least this long, since bursts come in rows
DIFFERENCES_MAX: Final = 10  # listed in ConfigApplied; more would hide the first

FULL_IS_NORMAL: Final = frozenset(
    {EvictionPolicy.ALLKEYS_LRU, EvictionPolicy.ALLKEYS_LFU, EvictionPolicy.ALLKEYS_RANDOM}
)
"""Policies of a cache: full memory is how it works, and condition Evicting says the rest."""

ANNOTATION_ACKNOWLEDGE_LOSS: Final = "redoubt.dev/acknowledge-data-loss"
"""A time in RFC 3339; losses up to it are taken note of, and DataLost turns false."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of one condition and why."""

    type: str
    status: str  # True | False | Unknown
    reason: str
    message: str


def rfc3339(at_s: float) -> str:
    """Unix seconds as Kubernetes writes times in conditions: UTC, whole seconds."""
    return datetime.fromtimestamp(int(at_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float | None:
    """Unix seconds of an RFC 3339 time, None when it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def previous(seen: Observation, type_: str) -> Mapping[str, Any]:
    """The condition as the last status has it, {} when it has none."""
    for one in seen.status.get("conditions") or ():
        if isinstance(one, Mapping) and one.get("type") == type_:
            return one
    return {}


def age_s(seen: Observation, type_: str, status: str, now_s: float) -> float:
    """How long a condition has had this status; 0 when it has another one."""
    one = previous(seen, type_)
    since_s = seconds(str(one.get("lastTransitionTime", "")))
    if one.get("status") != status or since_s is None:
        return 0.0
    return max(0.0, now_s - since_s)


def render(verdicts: Sequence[Verdict], seen: Observation, now_s: float) -> list[dict[str, Any]]:
    """Conditions for .status, with the transition time of those that did not change."""
    rendered = []
    for verdict in verdicts:
        before = previous(seen, verdict.type)
        is_same = before.get("status") == verdict.status and "lastTransitionTime" in before
        rendered.append(
            {
                "type": verdict.type,
                "status": verdict.status,
                "reason": verdict.reason,
                "message": verdict.message,
                "observedGeneration": seen.meta.generation,
                "lastTransitionTime": before["lastTransitionTime"] if is_same else rfc3339(now_s),
            }
        )
    return rendered


def judge(
    spec: ClusterSpec,
    view: ClusterView,
    draft: Draft,
    differences: tuple[Difference, ...],
    is_paused: bool,
    now_s: float,
) -> tuple[Verdict, ...]:
    """All conditions of a cluster whose spec is valid, in the order in which they are listed."""
    covered = slots_covered(view)
    replication = _replication_healthy(spec, view)
    ready = _ready(covered, replication, _all_agree(view))
    return (
        ready,
        # kstatus takes the first of these two that is true, and waiting does not help who waits for a person.
        _stalled(draft),
        _reconciling(spec, view, draft, differences, ready),
        covered,
        replication,
        _memory_healthy(spec, view),
        _evicting(view, now_s),
        _config_applied(view, differences),
        paused(is_paused),
        _data_lost(view, draft, now_s),
    )


def slots_served(view: ClusterView) -> int:
    """Slots whose owner is a serving master that was seen."""
    serving = [shard.master.node_id for shard in view.shards if shard.master is not None]
    return sum(len(one) for node_id in serving for one in view.owned.get(node_id, ()))


def slots_covered(view: ClusterView) -> Verdict:
    """Whether every slot has a serving owner; Unknown while a silent member may be one."""
    covered = slots_served(view)
    if covered == SLOTS:
        return Verdict("SlotsCovered", "True", "AllServed", f"all {SLOTS} slots are served")
    without = [str(shard.index) for shard in view.shards if shard.master is None and not shard.is_empty]
    where = f"; shards without a master: {', '.join(without)}" if without else ""
    message = f"{covered} of {SLOTS} slots are served{where}"
    silent = any(
        one.fate is Fate.SILENT for shard in view.shards if not shard.master for one in shard.servers
    )
    if silent:
        return Verdict("SlotsCovered", "Unknown", "NotSeen", message)
    return Verdict("SlotsCovered", "False", "SlotsNotServed", message)


def paused(is_paused: bool) -> Verdict:
    """Whether people told the operator to change nothing."""
    if is_paused:
        return Verdict(
            "Paused", "True", "Annotated", "annotation redoubt.dev/paused is true: nothing is changed"
        )
    return Verdict("Paused", "False", "NotPaused", "the operator acts")


def _ready(covered: Verdict, replication: Verdict, agreement: Verdict) -> Verdict:
    for one in (covered, replication, agreement):
        if one.status != "True":
            return Verdict("Ready", "False", one.reason, one.message)
    return Verdict("Ready", "True", "Serving", f"{covered.message}; {replication.message}")


def _reconciling(
    spec: ClusterSpec,
    view: ClusterView,
    draft: Draft,
    differences: tuple[Difference, ...],
    ready: Verdict,
) -> Verdict:
    if draft.is_planning:
        message = "the final placement of the slots is being planned"
        return Verdict("Reconciling", "True", PLANS_MOVES, message)
    outdated = [one for one in view.servers if one.is_staying and is_outdated(view, one)]
    if ready.status != "True":
        return Verdict("Reconciling", "True", "Repairing", ready.message)
    if outdated:
        message = f"{len(outdated)} of {len(view.servers)} pods have another revision"
        return Verdict("Reconciling", "True", "Rolling", message)
    moving = progress((draft.journal or view.journal).moves)
    if moving:
        return Verdict("Reconciling", "True", "SlotsMove", moving)
    if scaling := _scaling(spec, view, draft):
        return Verdict("Reconciling", "True", "ShardsChange", scaling)
    wrong = [one for one in view.shards if len(one.servers) != members_wanted(spec, view, one)]
    if wrong or draft.busy:
        indexes = sorted({shard.index for shard in wrong} | draft.busy)
        message = f"members change in shards {', '.join(str(index) for index in indexes)}"
        return Verdict("Reconciling", "True", "MembersChange", message)
    if differences:
        return Verdict("Reconciling", "True", "ConfigChanges", "directives are being applied")
    return Verdict("Reconciling", "False", "Settled", "nothing has to change")


def _scaling(spec: ClusterSpec, view: ClusterView, draft: Draft) -> str:
    """What the number of shards waits for while no slots move, or an empty text."""
    joining = [str(one.index) for one in view.shards if one.is_empty and not one.is_leaving]
    if joining:
        return f"shards {', '.join(joining)} join: their members start and get in sync"
    going = [one for one in view.shards if one.is_leaving]
    if going:
        what = ", ".join(str(one.index) for one in going)
        is_going = all(one.index in draft.retiring for one in going)
        return f"shards {what} are {'being removed' if is_going else 'to be emptied'}"
    target = (draft.journal or view.journal).target_shards
    if target is not None and target != spec.shards:
        return f"shards change from {target} to {spec.shards}"
    return ""


def _stalled(draft: Draft) -> Verdict:
    stalling = next((one for one in draft.blockers if one.is_stalling), None)
    if stalling is None:
        return Verdict("Stalled", "False", "NotBlocked", "nothing waits for a person")
    return Verdict("Stalled", "True", stalling.reason, f"{stalling.evidence}; {stalling.hint}")


def _replication_healthy(spec: ClusterSpec, view: ClusterView) -> Verdict:
    wanted = spec.replicas_per_shard
    # A shard without slots is on its way in or out; what it lacks is no lack of the cluster.
    shards = [shard for shard in view.shards if not shard.is_empty]
    lacking = [shard for shard in shards if len(shard.healthy_replicas) < wanted]
    in_sync = sum(min(len(shard.healthy_replicas), wanted) for shard in shards)
    message = f"{in_sync} of {wanted * len(shards)} replicas are in sync"
    if lacking:
        message += f"; behind: shards {', '.join(str(shard.index) for shard in lacking)}"
        return Verdict("ReplicationHealthy", "False", "ReplicasNotInSync", message)
    return Verdict("ReplicationHealthy", "True", "InSync", message)


def _all_agree(view: ClusterView) -> Verdict:
    """Whether a client may ask any serving member: each finds the cluster up and has met all others."""
    serving = [
        one
        for shard in view.shards
        if not shard.is_empty
        for one in (shard.master, *shard.healthy_replicas)
        if one is not None
    ]
    down = [one.pod.name for one in serving if one.status is not None and not one.status.cluster_ok]
    if down:
        message = f"for {', '.join(sorted(down))} the cluster is still down"
        return Verdict("Ready", "False", "ClusterDownSeen", message)
    ids = {one.node_id for one in serving}
    seen = [one for one in serving if not isinstance(one.nodes, Unknown)]
    apart = [one.pod.name for one in seen if not ids <= one.ids_met]
    if apart:
        message = f"{', '.join(sorted(apart))} have not met all other members yet"
        return Verdict("Ready", "False", "MembersMeeting", message)
    return Verdict("Ready", "True", "Agreed", "all members agree")


def _memory_healthy(spec: ClusterSpec, view: ClusterView) -> Verdict:
    type_ = "MemoryHealthy"
    samples = [(one.pod.name, one.sample) for one in view.servers if not isinstance(one.sample, Unknown)]
    if not samples:
        return Verdict(type_, "Unknown", "NotSampled", "no member's metrics have been seen")
    shares = {pod: sample.memory_share for pod, sample in samples}
    was_high = previous(view.seen, type_).get("status") == "False"
    limit = MEMORY_RELIEVED if was_high else MEMORY_HIGH
    high = sorted(pod for pod, share in shares.items() if share is not None and share >= limit)
    if all(share is None for share in shares.values()):
        return Verdict(type_, "True", "NoLimit", "there is no memory limit, so maxmemory is not set")
    if spec.memory.eviction_policy in FULL_IS_NORMAL:
        return Verdict(
            type_, "True", "Cache", f"{spec.memory.eviction_policy.value} keeps memory full by design"
        )
    if high:
        message = f"memory is nearly used up in {', '.join(high)}"
        return Verdict(type_, "False", "NearlyFull", message)
    return Verdict(type_, "True", "Headroom", "every member has headroom")


def _evicting(view: ClusterView, now_s: float) -> Verdict:
    evicting = sorted(
        one.pod.name
        for one in view.servers
        if not isinstance(one.sample, Unknown) and one.sample.evicted_per_s > 0
    )
    if evicting:
        return Verdict("Evicting", "True", "KeysEvicted", f"keys are evicted in {', '.join(evicting)}")
    before = previous(view.seen, "Evicting")
    if before.get("status") == "True" and age_s(view.seen, "Evicting", "True", now_s) < EVICTING_CLEAR_S:
        return Verdict("Evicting", "True", str(before.get("reason")), str(before.get("message")))
    return Verdict("Evicting", "False", "NoEviction", "no key is evicted")


def _config_applied(view: ClusterView, differences: tuple[Difference, ...]) -> Verdict:
    type_ = "ConfigApplied"
    if differences:
        unknown = any(one.found is None for one in differences)
        message = "; ".join(str(one) for one in differences[:DIFFERENCES_MAX])
        return Verdict(type_, "False", "UnknownDirective" if unknown else "NotApplied", message)
    if not any(not isinstance(one.config, Unknown) for one in view.seen_servers):
        return Verdict(type_, "Unknown", "NotSeen", "no member could be asked")
    return Verdict(type_, "True", "Applied", "every member runs with the directives of the spec")


def _data_lost(view: ClusterView, draft: Draft, now_s: float) -> Verdict:
    before = previous(view.seen, "DataLost")
    losses = [f"{rfc3339(now_s)}: {why}" for _, why in sorted(draft.losses.items())]
    was_lost = before.get("status") == "True"
    if losses:
        messages = [str(before.get("message"))] if was_lost else []
        return Verdict("DataLost", "True", "NoCopyLeft", "; ".join([*messages, *losses]))
    if was_lost and not _is_acknowledged(view, str(before.get("lastTransitionTime"))):
        return Verdict("DataLost", "True", str(before.get("reason")), str(before.get("message")))
    return Verdict("DataLost", "False", "NoLoss", "no loss of data is known")


def _is_acknowledged(view: ClusterView, lost_at: str) -> bool:
    acknowledged_s = seconds(view.seen.meta.annotations.get(ANNOTATION_ACKNOWLEDGE_LOSS, ""))
    lost_s = seconds(lost_at)
    return acknowledged_s is not None and lost_s is not None and acknowledged_s >= lost_s
