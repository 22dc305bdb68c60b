"""Events as a kubelet records them: counted when repeated, limited when too many, written in the background.

Nothing waits for an Event. Repeats of the same reason and message raise the count of the first; an object
may have a burst of 25 and then one in 20 s, so that a failing probe does not fill etcd. Called with a pod
or node by every part of the kubelet. Precedent: the client-go EventCorrelator.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from typing import Final

import aiohttp

from devcluster.kubelet.api import MERGE, ApiClient, ApiError, Object
from devcluster.kubelet.timestamps import now_text

LOG: Final = logging.getLogger("devcluster.events")
BURST: Final = 25
REFILL_S: Final = 20.0
QUEUE_MAX: Final = 1000
REMEMBERED_MAX: Final = 2000


@dataclass(slots=True)
class _Written:
    path: str
    count: int


class EventRecorder:
    """Writes Events; `run` is its only task."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._queue: asyncio.Queue[Object] = asyncio.Queue(QUEUE_MAX)
        self._written: dict[tuple[str, ...], _Written] = {}
        self._allowance: dict[str, tuple[float, float]] = {}  # uid -> (tokens, when)

    def record(self, about: Object, reason: str, message: str, is_warning: bool = False) -> None:
        """Record an Event about a pod."""
        metadata = about["metadata"]
        if not self._is_allowed(metadata["uid"]) or self._queue.full():
            return
        reference = {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": metadata.get("namespace", "default"),
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        seen = now_text()
        self._queue.put_nowait({
            "metadata": {
                "name": f"{metadata['name']}.{secrets.token_hex(8)}",
                "namespace": reference["namespace"],
            },
            "involvedObject": reference,
            "reason": reason,
            "message": message[:1000],
            "type": "Warning" if is_warning else "Normal",
            "source": {"component": "kubelet", "host": about["spec"].get("nodeName", "")},
            "reportingComponent": "kubelet",
            "reportingInstance": about["spec"].get("nodeName", ""),
            "firstTimestamp": seen,
            "lastTimestamp": seen,
            "count": 1,
        })  # fmt: skip

    async def run(self) -> None:
        """Write what was recorded, for ever."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except (TimeoutError, ApiError, aiohttp.ClientError) as failed:
                LOG.debug("event lost: %s", failed)  # its namespace may be terminating

    async def _write(self, event: Object) -> None:
        key = (event["involvedObject"]["uid"], event["reason"], event["message"])
        if before := self._written.get(key):
            before.count += 1
            repeated = {"count": before.count, "lastTimestamp": event["lastTimestamp"]}
            await self._client.patch(before.path, repeated, MERGE)
            return
        path = f"/api/v1/namespaces/{event['metadata']['namespace']}/events"
        await self._client.create(path, event)
        if len(self._written) >= REMEMBERED_MAX:
            self._written.clear()
            self._allowance.clear()
        self._written[key] = _Written(f"{path}/{event['metadata']['name']}", 1)

    def _is_allowed(self, uid: str) -> bool:
        now = time.monotonic()
        tokens, when = self._allowance.get(uid, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - when) / REFILL_S)
        self._allowance[uid] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1
