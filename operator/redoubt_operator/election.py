"""Leader election by a coordination Lease: of several operators one acts, the others wait.

The leader renews the Lease every second. Whoever has seen the same record for its whole duration, by the
own clock, may take it; the times written into the record are for people and are never compared, so a
clock that jumps changes nothing. A leader that could not renew for `LEASE_RENEW_DEADLINE_S`, measured from
the sending of its last good request, is no longer one, three seconds before anybody else may be. Every change
of hands raises `leaseTransitions`; the number goes with every role that we give to a server, and a server
that has seen a higher one refuses: so even a leader that was frozen and wakes up late can do no harm.

`Candidate` is the pure rule over records and clock readings; `Election` asks the API server. `main.py` runs
it and ends the process when the lease is lost. The rules and the field meanings are those of the
leader election in Kubernetes' client libraries (coordination.k8s.io/v1, Lease).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from redoubt_operator.kube import LEASES, ApiError, Json, Kube
from redoubt_operator.projection import rfc3339
from redoubt_operator.settings import LEASE_DURATION_S, LEASE_RENEW_DEADLINE_S, LEASE_RETRY_S

log = logging.getLogger(__name__)

LEASE_NAME: Final = "redoubt-operator"
DURATION_S: Final = int(LEASE_DURATION_S)
# A request that hangs must leave room for another one before the renew deadline.
REQUEST_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says. `version` is its resourceVersion; empty when there is no Lease."""

    holder: str = ""
    duration_s: int = DURATION_S
    transitions: int = 0
    acquired_at: str = ""
    renewed_at: str = ""
    version: str = ""


class Step(Enum):
    """What a candidate does next."""

    WAIT = "wait"
    ACQUIRE = "acquire"
    RENEW = "renew"


class Candidate:
    """Decides whether the Lease is ours, free or somebody else's. `now_s` is a clock that only goes on."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._seen = Record()
        self._seen_at_s = float("-inf")
        # Never write a number of transitions below this: servers have seen it (the Lease may be a new one).
        self._transitions_min = 0

    def see(self, record: Record, now_s: float, *, is_held: bool) -> Step:
        """Take a record that was read at `now_s` and say what to do about it.

        `is_held`: this very process has acquired it. A record in our name from before is that of our
        predecessor in the same pod, which is dead: taken over at once, as a new leadership.
        """
        if record != self._seen:
            self._seen = record
            self._seen_at_s = now_s
        if record.holder == self.identity:
            return Step.RENEW if is_held else Step.ACQUIRE
        if not record.holder or now_s >= self._seen_at_s + record.duration_s:
            return Step.ACQUIRE
        return Step.WAIT

    def acquired(self, record: Record, now: str) -> Record:
        """Return the record by which we take the Lease over."""
        return replace(
            record,
            holder=self.identity,
            duration_s=DURATION_S,
            transitions=max(record.transitions + 1, self._transitions_min),
            acquired_at=now,
            renewed_at=now,
        )

    def renewed(self, record: Record, now: str) -> Record:
        """Return the record by which we keep the Lease."""
        transitions = max(record.transitions, self._transitions_min)
        return replace(record, renewed_at=now, transitions=transitions, duration_s=DURATION_S)

    def released(self, record: Record, now: str) -> Record:
        """Return the record by which we give the Lease up: whoever looks next may take it at once."""
        return replace(record, holder="", duration_s=1, renewed_at=now)

    def raise_transitions(self, seen: int) -> None:
        """Take note that a server has seen `seen` transitions; our own number must be higher."""
        self._transitions_min = max(self._transitions_min, seen + 1)


class Election:
    """Takes, renews and releases one Lease."""

    def __init__(self, kube: Kube, namespace: str, identity: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._candidate = Candidate(identity)
        self._record = Record()
        self._renewed_at_s = float("-inf")
        self._is_held = False
        # One request at a time: a release must not be overtaken by a renewal that was under way.
        self._lock = asyncio.Lock()

    @property
    def is_leader(self) -> bool:
        """Whether the Lease is ours and was renewed within the deadline."""
        return self._is_held and time.monotonic() < self._renewed_at_s + LEASE_RENEW_DEADLINE_S

    @property
    def transitions(self) -> int:
        """How often the Lease has changed hands up to us."""
        return self._record.transitions

    def raise_transitions(self, seen: int) -> None:
        """See that the number becomes higher than what a server has seen (the Lease was deleted once)."""
        if seen > self._record.transitions:
            log.warning("a server has seen more lease transitions than our Lease", extra={"seen": seen})
            self._candidate.raise_transitions(seen)

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        while not await self._try_once():
            await asyncio.sleep(LEASE_RETRY_S)
        log.info("leading", extra={"lease_transitions": self.transitions})

    async def keep(self, lost: Callable[[str], None]) -> None:
        """Renew until cancelled; call `lost` with the reason, once, when the Lease is no longer ours."""
        while True:
            await asyncio.sleep(LEASE_RETRY_S)
            if not self._is_held:
                return
            renewed = await self._try_once()
            if self._is_held and not renewed and self._record.holder != self._candidate.identity:
                lost(f"the Lease is held by {self._record.holder or 'nobody'}")
                return
            if self._is_held and not self.is_leader:
                lost(f"the Lease could not be renewed for {LEASE_RENEW_DEADLINE_S:g} s")
                return

    async def release(self) -> None:
        """Give the Lease up, if it is ours, so that another operator may take it at once."""
        async with self._lock:
            was_held, self._is_held = self._is_held, False
            if not was_held:
                return
            try:
                await self._write(self._candidate.released(self._record, rfc3339(time.time())))
            except ApiError as error:
                log.warning("the Lease could not be released and will run out", extra={"error": str(error)})
            else:
                log.info("lease released")

    async def _try_once(self) -> bool:
        """Take or renew the Lease if we may; False when it is somebody else's or the API fails."""
        async with self._lock:
            begun_s = time.monotonic()
            try:
                return await self._step(begun_s)
            except ApiError as error:
                log.warning("lease request failed", extra={"error": str(error)})
                return False

    async def _step(self, begun_s: float) -> bool:
        # While the record is as we wrote it the renewal alone is enough: its resourceVersion is the check.
        if not self._is_held:
            self._record = await self._read()
        now = rfc3339(time.time())
        # Seen now, not when we asked: a record is never thought older than it is.
        match self._candidate.see(self._record, time.monotonic(), is_held=self._is_held):
            case Step.WAIT:
                return False
            case Step.ACQUIRE:
                wanted = self._candidate.acquired(self._record, now)
            case Step.RENEW:
                wanted = self._candidate.renewed(self._record, now)
        try:
            await self._write(wanted)
        except ApiError as error:
            if not error.is_conflict and not error.is_not_found:
                raise
            # Somebody else wrote it, or an earlier request of ours came through without an answer.
            self._record = await self._read()
            return False
        self._renewed_at_s = begun_s
        self._is_held = True
        return True

    async def _read(self) -> Record:
        try:
            lease = await self._kube.request(
                "GET", LEASES, self._namespace, LEASE_NAME, attempts=1, timeout_s=REQUEST_TIMEOUT_S
            )
        except ApiError as error:
            if error.is_not_found:
                return Record()
            raise
        return record_of(lease)

    async def _write(self, record: Record) -> None:
        lease = lease_of(record, self._namespace)
        if record.version:
            answer = await self._kube.replace(LEASES, lease, timeout_s=REQUEST_TIMEOUT_S)
        else:
            answer = await self._kube.create_raw(LEASES, lease, attempts=1)
        self._record = record_of(answer)


def record_of(lease: Json) -> Record:
    """Read a Lease object."""
    spec = lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        duration_s=spec.get("leaseDurationSeconds") or DURATION_S,
        transitions=spec.get("leaseTransitions") or 0,
        acquired_at=spec.get("acquireTime") or "",
        renewed_at=spec.get("renewTime") or "",
        version=lease["metadata"]["resourceVersion"],
    )


def lease_of(record: Record, namespace: str) -> Json:
    """Write a Lease object."""
    metadata: dict[str, Any] = {"name": LEASE_NAME, "namespace": namespace}
    if record.version:
        metadata["resourceVersion"] = record.version
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": metadata,
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.duration_s,
            "leaseTransitions": record.transitions,
            "acquireTime": record.acquired_at,
            "renewTime": record.renewed_at,
        },
    }
