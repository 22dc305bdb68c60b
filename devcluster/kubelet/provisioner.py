"""Storage: a directory of the machine for each PersistentVolumeClaim of the StorageClass `devcluster`.

The class is the default one and binds when the first pod needs the claim (WaitForFirstConsumer);
`devcluster-immediate` does not wait. A volume behaves like a network disk: it is reachable from every node.
Kubernetes' own controllers bind, protect and release; what is left for a provisioner is to make the
directory and the PersistentVolume, and to remove both when a volume with reclaim policy Delete is released.
Started by `kubelet.py`. Source: the external provisioner protocol, "Dynamic Volume Provisioning" in the
Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import Final

import aiohttp

from devcluster.kubelet.api import MERGE, ApiClient, ApiError, Object, WatchCache
from devcluster.kubelet.context import Context

LOG: Final = logging.getLogger("devcluster.storage")
NAME: Final = "redoubt.dev/devcluster"
CLASSES: Final = {"devcluster": "WaitForFirstConsumer", "devcluster-immediate": "Immediate"}
DEFAULT_CLASS: Final = "devcluster"
BOUND_BY: Final = (
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
)
RETRY_S: Final = 1.0


class Provisioner:
    """Makes and removes volumes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client: ApiClient = context.client
        self._work: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        self._claims = WatchCache(self._client, "/api/v1/persistentvolumeclaims", self._claim_changed)
        self._volumes = WatchCache(self._client, "/api/v1/persistentvolumes", self._volume_changed)

    async def run(self) -> None:
        """Serve claims and released volumes for ever."""
        await asyncio.gather(*(self._ensure_class(name) for name in CLASSES))
        watches = [asyncio.create_task(each.run()) for each in (self._claims, self._volumes)]
        try:
            while True:
                kind, thing = await self._work.get()
                try:
                    await (self._provision(thing) if kind == "claim" else self._remove(thing))
                except (TimeoutError, ApiError, aiohttp.ClientError, OSError) as failed:
                    LOG.warning("%s %s: %s", kind, thing["metadata"]["name"], failed)
                    asyncio.get_running_loop().call_later(RETRY_S, self._work.put_nowait, (kind, thing))
        finally:
            for watch in watches:
                watch.cancel()

    def _claim_changed(self, claim: Object, is_gone: bool) -> None:
        if is_gone or claim["spec"].get("volumeName"):
            return
        annotations = claim["metadata"].get("annotations") or {}
        # The volume controller says by this annotation that it is our turn: with WaitForFirstConsumer, not
        # before the scheduler has chosen a node.
        if any(annotations.get(each) == NAME for each in BOUND_BY):
            waits = CLASSES.get(claim["spec"].get("storageClassName")) == "WaitForFirstConsumer"
            if not waits or annotations.get("volume.kubernetes.io/selected-node"):
                self._work.put_nowait(("claim", claim))

    def _volume_changed(self, volume: Object, is_gone: bool) -> None:
        ours = (volume["metadata"].get("annotations") or {}).get("pv.kubernetes.io/provisioned-by") == NAME
        is_deleted = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        if ours and is_deleted and not is_gone and volume.get("status", {}).get("phase") == "Released":
            self._work.put_nowait(("volume", volume))

    async def _provision(self, claim: Object) -> None:
        metadata = claim["metadata"]
        current = self._claims.get(metadata["namespace"], metadata["name"])
        if not current or current["metadata"]["uid"] != metadata["uid"] or current["spec"].get("volumeName"):
            return
        name = f"pvc-{metadata['uid']}"
        directory = self._context.state.volumes / name
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o777)  # any pod's user may write; an fsGroup narrows it
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": NAME}},
            "spec": {
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "accessModes": claim["spec"]["accessModes"],
                "persistentVolumeReclaimPolicy": await self._reclaim_policy(claim),
                "storageClassName": claim["spec"]["storageClassName"],
                "volumeMode": "Filesystem",
                "hostPath": {"path": str(directory)},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            },
        }
        try:
            await self._client.create("/api/v1/persistentvolumes", volume)
        except ApiError as refused:
            if refused.status != 409:
                raise

    async def _reclaim_policy(self, claim: Object) -> str:
        found = await self._client.get(
            f"/apis/storage.k8s.io/v1/storageclasses/{claim['spec']['storageClassName']}"
        )
        return str(found.get("reclaimPolicy", "Delete"))

    async def _remove(self, volume: Object) -> None:
        name = volume["metadata"]["name"]
        directory = self._context.state.volumes / name
        if str(directory) == volume["spec"]["hostPath"]["path"]:
            shutil.rmtree(directory, ignore_errors=True)
        try:
            await self._client.delete(f"/api/v1/persistentvolumes/{name}")
        except ApiError as refused:
            if refused.status != 404:
                raise

    async def _ensure_class(self, name: str) -> None:
        path = "/apis/storage.k8s.io/v1/storageclasses"
        is_default = str(name == DEFAULT_CLASS).lower()
        wanted = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": name,
                "annotations": {"storageclass.kubernetes.io/is-default-class": is_default},
            },
            "provisioner": NAME,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": CLASSES[name],
        }
        while True:
            try:
                await self._client.create(path, wanted)
                return
            except ApiError as refused:
                if refused.status == 409:
                    await self._client.patch(f"{path}/{name}", {"metadata": wanted["metadata"]}, MERGE)
                    return
                LOG.warning("storage class %s: %s", name, refused)
            except (TimeoutError, aiohttp.ClientError) as failed:
                LOG.warning("storage class %s: %s", name, failed)
            await asyncio.sleep(RETRY_S)
