"""Events on the RedoubtCluster: what a person reads in `kubectl describe` about what was done, and why.

The same sentence is written once: a repetition within ten minutes raises the count of the Event that is
there instead of making another, and no more often than once a minute, so a state that lasts does not flood
the API. An Event that cannot be written is logged and dropped; nobody's work waits for it. Called by the
executor with the plan's `because`.

Rules: the Event of Kubernetes' core API, with `count`, `firstTimestamp` and `lastTimestamp`.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from redoubt_operator.kube import EVENTS, ApiError, Json, Kube
from redoubt_operator.names import API_VERSION, FIELD_MANAGER, KIND
from redoubt_operator.observation import ClusterMeta
from redoubt_operator.projection import rfc3339

log = logging.getLogger(__name__)

REPEATED_WITHIN_S: Final = 600.0
WRITTEN_EVERY_S: Final = 60.0
REMEMBERED_MAX: Final = 2000
# Kubernetes refuses longer ones.
NOTE_LENGTH_MAX: Final = 1024


@dataclass(slots=True)
class _Written:
    """An Event that was written: its name, how often the same was to be said, and when."""

    name: str
    first_at_s: float
    last_at_s: float
    written_at_s: float
    count: int


class Recorder:
    """Writes Events about clusters."""

    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance
        self._written: OrderedDict[tuple[str, str, str], _Written] = OrderedDict()

    async def record(
        self, meta: ClusterMeta, kind: Literal["Normal", "Warning"], reason: str, note: str
    ) -> None:
        """Say something about a cluster; never raises."""
        note = note[:NOTE_LENGTH_MAX]
        now_s = time.time()
        key = (meta.uid, reason, note)
        known = self._written.get(key)
        if known is not None and now_s - known.last_at_s < REPEATED_WITHIN_S:
            known.count += 1
            known.last_at_s = now_s
            if now_s - known.written_at_s < WRITTEN_EVERY_S:
                return
        else:
            # The digest keeps the names of different sentences apart, the time those of the same one.
            digest = hashlib.blake2b("\0".join(key).encode(), digest_size=4).hexdigest()
            name = f"{meta.name[:200]}.{int(now_s * 1000):x}{digest}"
            known = _Written(name, now_s, now_s, 0.0, 1)
            self._written[key] = known
        self._written.move_to_end(key)
        while len(self._written) > REMEMBERED_MAX:
            self._written.popitem(last=False)
        try:
            await self._write(meta, kind, reason, note, known)
        except ApiError as error:
            log.warning(
                "event dropped", extra={"cluster": f"{meta.namespace}/{meta.name}", "error": str(error)}
            )

    async def _write(self, meta: ClusterMeta, kind: str, reason: str, note: str, event: _Written) -> None:
        is_first, event.written_at_s = event.written_at_s == 0.0, event.last_at_s
        last_at = rfc3339(event.last_at_s).split(".")[0] + "Z"
        if not is_first:
            patch = {"count": event.count, "lastTimestamp": last_at}
            try:
                await self._kube.merge_patch(EVENTS, meta.namespace, event.name, patch)
                return
            except ApiError as error:
                if not error.is_not_found:  # it has expired meanwhile: write it anew
                    raise
        body: Json = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": meta.namespace, "name": event.name},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
            },
            "type": kind,
            "reason": reason,
            "message": note,
            "count": event.count,
            "firstTimestamp": rfc3339(event.first_at_s).split(".")[0] + "Z",
            "lastTimestamp": last_at,
            "source": {"component": FIELD_MANAGER, "host": self._instance},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance,
        }
        await self._kube.create_raw(EVENTS, body)
