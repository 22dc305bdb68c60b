"""One pod on its node: volumes, init containers, containers, status reports, and its end.

A worker lives as long as the pod is bound to a node of ours. It reports at once whatever changes, one
request at a time and always the newest state, so a burst of changes costs two requests. A deleted pod is
stopped within its grace period; only when no process is left the worker removes the object, which is what
frees its name. A pod that vanished (forced deletion) is killed; one whose node is lost is killed without a
word to the API. Called by `kubelet.py`. Source: "Pod Lifecycle" in the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import aiohttp

from devcluster.kubelet.api import STRATEGIC_MERGE, ApiError, Object
from devcluster.kubelet.container import Container
from devcluster.kubelet.context import Context
from devcluster.kubelet.status import PodFacts, pod_status
from devcluster.kubelet.timestamps import now_text
from devcluster.kubelet.volumes import PodVolumes, VolumeNotReady

LOG: Final = logging.getLogger("devcluster.pod")
VOLUME_RETRY_S: Final = 0.5
VOLUME_EVENT_EVERY: Final = 20  # retries between two FailedMount Events
REPORT_RETRY_S: Final = 0.5
GRACE_DEFAULT_S: Final = 30
REFRESH_S: Final = 60.0


class PodWorker:
    """A pod being run."""

    def __init__(self, context: Context, pod: Object, pod_ip: str, host_ip: str) -> None:
        self.context = context
        self.pod = pod
        self.uid: Final = str(pod["metadata"]["uid"])
        self.node: Final = str(pod["spec"]["nodeName"])
        self.pod_ip = pod_ip
        self.host_ip = host_ip
        self.volumes = PodVolumes(context, pod, pod_ip, host_ip)
        reported = pod.get("status", {})
        self._was_ended = reported.get("phase") in ("Succeeded", "Failed")
        self.init_containers: Final = self._make(pod["spec"].get("initContainers") or [], reported, True)
        self.containers: Final = self._make(pod["spec"]["containers"], reported, False)
        self._facts = PodFacts(
            [each.facts for each in self.init_containers],
            [each.facts for each in self.containers],
            pod_ip,
            host_ip,
            reported.get("startTime") or now_text(),
        )
        self._dirty = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._volumes_changed = asyncio.Event()
        self._is_vanished = False
        self._is_silent = False  # the API must not hear of what happens now
        self._deadline: float | None = None
        self._sent: Object | None = None

    @property
    def _all_containers(self) -> list[Container]:
        return [*self.init_containers, *self.containers]

    @property
    def is_stopping(self) -> bool:
        return self._stop_asked.is_set()

    @property
    def grace_s(self) -> float:
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        own = spec.get("terminationGracePeriodSeconds", GRACE_DEFAULT_S)
        return float(metadata.get("deletionGracePeriodSeconds", own))

    async def run(self) -> None:
        """Run the pod to its end, including the removal of its object; returns when nothing of it is left."""
        if self.pod["metadata"].get("deletionTimestamp"):
            self._ask_stop(self.grace_s)
        reporter = asyncio.create_task(self._report_changes())
        refresher = asyncio.create_task(self._refresh_volumes())
        life = asyncio.create_task(self._live())
        stop = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({life, stop}, return_when=asyncio.FIRST_COMPLETED)
            if life.done() and (failed := life.exception()):
                LOG.error("pod %s failed", self._name, exc_info=failed)
                self._fail("KubeletError", str(failed))
            await stop
            await asyncio.gather(*(each.stop() for each in self._all_containers))
            # Containers start nothing any more, and what a launcher was just starting ends at once.
            await asyncio.wait({life})
        finally:
            for task in (reporter, refresher, stop):
                task.cancel()
            await asyncio.gather(reporter, refresher, stop, return_exceptions=True)
        if not self._is_silent:
            await self._remove()
        if not self._is_silent or self._is_vanished:
            self.context.remove_pod_directory(self.pod)

    def updated(self, pod: Object) -> None:
        """Take the newer object that the watch brought."""
        known = self.pod
        self.pod = pod
        if int(known["metadata"]["resourceVersion"]) > int(pod["metadata"]["resourceVersion"]):
            pod["status"] = known["status"]
        if pod["metadata"].get("deletionTimestamp"):
            self._ask_stop(self.grace_s)
            return
        if pod["spec"] != known["spec"]:
            self._nudge()
        elif pod["metadata"].get("labels") != known["metadata"].get("labels") or pod["metadata"].get(
            "annotations"
        ) != known["metadata"].get("annotations"):
            self._volumes_changed.set()
        if (pod["spec"].get("readinessGates") or []) and not self._stop_asked.is_set():
            self.changed()

    def vanish(self) -> None:
        """The object is gone without us: kill everything."""
        self._is_vanished = True
        self.abandon()

    def abandon(self) -> None:
        """End all processes and tell nobody: the node is lost."""
        self._is_silent = True
        self._ask_stop(0)
        for container in self._all_containers:
            container.kill()

    def reference_changed(self, kind: str, name: str) -> None:
        """A ConfigMap or Secret ("configMap", "secret") of the pod's namespace changed."""
        if self.volumes.concerns(kind, name):
            self._volumes_changed.set()
        for container in self._all_containers:
            if "waiting" in container.facts.state:
                reason = container.facts.state["waiting"].get("reason")
                if reason == "CreateContainerConfigError":
                    container.nudge()

    def changed(self) -> None:
        """Report, soon."""
        self._dirty.set()

    def _make(self, specs: list[Object], reported: Object, is_init: bool) -> list[Container]:
        statuses = reported.get("initContainerStatuses" if is_init else "containerStatuses") or []
        earlier = {each["name"]: each for each in statuses}
        return [Container(self, spec["name"], is_init, earlier.get(spec["name"])) for spec in specs]

    async def _live(self) -> None:
        if self._was_ended:
            return
        sidecars = [
            each["name"] for each in self.pod["spec"].get("initContainers") or [] if each.get("restartPolicy")
        ]
        if sidecars:
            self._fail("NotSupported", f"devcluster does not run sidecars (init container {sidecars[0]})")
            return
        self.changed()
        try:
            async with asyncio.timeout(self.pod["spec"].get("activeDeadlineSeconds")):
                await self._mount_volumes()
                for container in self.init_containers:
                    await container.run()
                    if (
                        self.is_stopping
                        or not container.facts.terminated
                        or container.facts.terminated["exitCode"]
                    ):
                        return
                await asyncio.gather(*(container.run() for container in self.containers))
        except TimeoutError:
            for container in self._all_containers:
                container.kill()
            self._fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")

    async def _mount_volumes(self) -> None:
        tries = 0
        while not self.is_stopping:
            try:
                await self.volumes.prepare(self.pod)
                return
            except (VolumeNotReady, ApiError, aiohttp.ClientError, ValueError) as waits:
                # The first failure is often a race with the object's creation, and not worth an Event.
                if tries % VOLUME_EVENT_EVERY == 1:
                    self.context.events.record(
                        self.pod, "FailedMount", f"MountVolume.SetUp failed: {waits}", True
                    )
                tries += 1
            await self._sleep_or_change(VOLUME_RETRY_S if tries > 3 else 0.1)

    async def _sleep_or_change(self, seconds: float) -> None:
        self._volumes_changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._volumes_changed.wait()
        except TimeoutError:
            pass

    async def _refresh_volumes(self) -> None:
        """Rewrite files when what they come from changes, tokens before they expire; keep logs bounded."""
        while True:
            await self._sleep_or_change(REFRESH_S)
            for container in self._all_containers:
                container.bound_log()
            if any(container.facts.is_running for container in self.containers):
                try:
                    await self.volumes.prepare(self.pod)
                except (VolumeNotReady, ApiError, aiohttp.ClientError, OSError) as failed:
                    LOG.info("volumes of %s: %s", self._name, failed)

    def _nudge(self) -> None:
        self._volumes_changed.set()
        for container in self._all_containers:
            container.nudge()

    def _fail(self, reason: str, message: str) -> None:
        self._facts.failure = (reason, message)
        self._facts.is_ended = True
        self.changed()

    def _ask_stop(self, grace_s: float) -> None:
        """Stop within `grace_s`; asked again, the nearer deadline counts."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        if self._deadline is not None and deadline >= self._deadline:
            return
        self._deadline = deadline
        self._stop_asked.set()
        self._volumes_changed.set()
        for container in self._all_containers:
            loop.call_at(deadline, container.kill)

    async def _report_changes(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._is_silent:
                return
            try:
                await self._report()
            except (TimeoutError, ApiError, aiohttp.ClientError) as failed:
                if isinstance(failed, ApiError) and failed.status in (404, 409):
                    continue  # it is gone, or another pod has its name: the watch will say so
                LOG.warning("status of %s: %s", self._name, failed)
                await asyncio.sleep(REPORT_RETRY_S)
                self._dirty.set()

    async def _report(self) -> None:
        status = pod_status(self.pod, self._facts, now_text())
        if status == self._sent:
            return
        # The patch would merge the lists: an address of before a reboot must not stay beside the new one.
        replaced = {
            name: [*status[name], {"$patch": "replace"}] for name in ("podIPs", "hostIPs") if name in status
        }
        body = {"metadata": {"uid": self.uid}, "status": status | replaced}
        answer = await self.context.client.patch(f"{self._path}/status", body, STRATEGIC_MERGE)
        self._sent = status
        if int(answer["metadata"]["resourceVersion"]) > int(self.pod["metadata"]["resourceVersion"]):
            self.pod["status"] = answer["status"]

    async def _remove(self) -> None:
        """Report the end, then delete the object: from now on its name is free."""
        if not self._was_ended:
            self._facts.is_ended = True
        preconditions = {"uid": self.uid}
        while not self._is_silent:
            try:
                if not self._was_ended:
                    await self._report()
                await self.context.client.delete(
                    self._path, {"gracePeriodSeconds": 0, "preconditions": preconditions, "kind":
                    "DeleteOptions",
                                 "apiVersion": "v1"})  # fmt: skip
                return
            except ApiError as refused:
                if refused.status in (404, 409):
                    return
                LOG.warning("removal of %s: %s", self._name, refused)
            except (TimeoutError, aiohttp.ClientError) as failed:
                LOG.warning("removal of %s: %s", self._name, failed)
            await asyncio.sleep(REPORT_RETRY_S)

    @property
    def _name(self) -> str:
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.pod['metadata']['namespace']}/pods/{self.pod['metadata']['name']}"
