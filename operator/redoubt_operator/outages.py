"""Measures how long a shard was without a serving master, for `lastFailover` and the metrics.

The clock starts when the link to the serving master ends, or, for a death that leaves the link open (a
frozen process, a lost host), when a look first finds nobody serving; it stops when a look first finds a
serving master again. So the figure errs by the time between two looks, which are made every
`LOOK_AGAIN_S` while an outage lasts. Silence that ends with the same run of the same process was only
silence between it and us, and is forgotten.

Pure: fed by the reconciler with observations and by the links with their ends; read by the planner
through `Observation.outages`. Times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from redoubt_operator.observation import Member, MemberStatus, Observation, Outage, Phase, Pod, Role, Unknown

LOOK_AGAIN_S: Final = 0.1
# An outage that lasts longer waits for something slower than an election; looking hard does not help it.
LOOK_HARD_FOR_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Serving:
    """The last known serving master of a shard."""

    pod_uid: str
    pod: str
    started_at_s: float
    config_epoch: int


class Outages:
    """The outages of one cluster: for each shard the one that lasts, or else the last one."""

    def __init__(self) -> None:
        self._serving: dict[int, _Serving] = {}
        self._outages: dict[int, Outage] = {}
        # Ends of links to serving masters, until a look decides what they meant.
        self._ended: dict[int, float] = {}

    def all(self) -> tuple[Outage, ...]:
        """Return the outages, by shard."""
        return tuple(self._outages[shard] for shard in sorted(self._outages))

    def look_again_s(self, now_s: float) -> float | None:
        """In how many seconds to look again for the sake of the measurement; None when nothing is open."""
        is_young = any(
            outage.ended_at_s is None and now_s - outage.began_at_s < LOOK_HARD_FOR_S
            for outage in self._outages.values()
        )
        return LOOK_AGAIN_S if is_young else None

    def link_ended(self, pod_uid: str, at_s: float) -> bool:
        """Take note that the link to a pod has ended; returns whether that pod was a serving master."""
        for shard, serving in self._serving.items():
            if serving.pod_uid == pod_uid:
                self._ended.setdefault(shard, at_s)
                return True
        return False

    def looked(self, seen: Observation, now_s: float) -> None:
        """Take in a look at the whole cluster made at `now_s`."""
        if isinstance(seen.pods, Unknown):
            return
        self._drop_drained(seen, seen.pods)
        masters = _serving_masters(seen, seen.pods, now_s)
        for shard in sorted(set(self._serving) | set(masters)):
            found = masters.get(shard)
            if found is None:
                self._open(shard, now_s)
            else:
                self._close(shard, found, now_s)

    def _drop_drained(self, seen: Observation, pods: tuple[Pod, ...]) -> None:
        """A master that has given all its slots to other shards serves nothing, and nothing is out."""
        by_uid = {pod.uid: seen.member(pod) for pod in pods}
        for shard, serving in list(self._serving.items()):
            member = by_uid.get(serving.pod_uid)
            status = None if member is None or isinstance(member.status, Unknown) else member.status
            is_idle = status is not None and status.phase is Phase.ASSIGNED and status.role is Role.MASTER
            if is_idle and status is not None and status.slots == 0 and not status.loading:
                del self._serving[shard]
                self._ended.pop(shard, None)
                if shard in self._outages and self._outages[shard].ended_at_s is None:
                    del self._outages[shard]

    def _open(self, shard: int, now_s: float) -> None:
        lasting = self._outages.get(shard)
        if lasting is not None and lasting.ended_at_s is None:
            return
        began_at_s = self._ended.pop(shard, now_s)
        self._outages[shard] = Outage(shard, began_at_s, None, from_pod=self._serving[shard].pod)

    def _close(self, shard: int, found: _Serving, now_s: float) -> None:
        before = self._serving.get(shard)
        self._serving[shard] = found
        ended_at_s = self._ended.pop(shard, None)
        lasting = self._outages.get(shard)
        is_open = lasting is not None and lasting.ended_at_s is None
        if before is None or _is_same_run(before, found):
            if is_open:
                del self._outages[shard]
            return
        if is_open:
            assert lasting is not None
            self._outages[shard] = replace(lasting, ended_at_s=now_s, to_pod=found.pod)
        elif before.pod_uid != found.pod_uid or ended_at_s is not None:
            # The change of hands was over before we looked; a handover has no end of a link before it.
            began_at_s = now_s if ended_at_s is None else ended_at_s
            self._outages[shard] = Outage(shard, began_at_s, now_s, before.pod, found.pod)


def _is_same_run(before: _Serving, found: _Serving) -> bool:
    """Whether it is the same process as before; uptime and our clock differ by less than a restart takes."""
    return before.pod_uid == found.pod_uid and abs(before.started_at_s - found.started_at_s) < 0.5


def _serving_masters(seen: Observation, pods: tuple[Pod, ...], now_s: float) -> dict[int, _Serving]:
    masters: dict[int, _Serving] = {}
    for pod in pods:
        member = seen.member(pod)
        status = _serving_status(member)
        if pod.shard is None or status is None:
            continue
        other = masters.get(pod.shard)
        # For a moment two may believe that they serve; the higher epoch is right.
        if other is None or status.config_epoch > other.config_epoch:
            started_at_s = now_s - status.uptime_ms / 1000
            masters[pod.shard] = _Serving(pod.uid, pod.name, started_at_s, status.config_epoch)
    return masters


def _serving_status(member: Member | None) -> MemberStatus | None:
    if member is None or isinstance(member.status, Unknown):
        return None
    status = member.status
    is_serving = (
        status.role is Role.MASTER
        and status.phase is Phase.ASSIGNED
        and status.slots > 0
        and not status.loading
    )
    return status if is_serving else None
