"""The volumes of a pod as directories of the machine, which `rootfs.py` then binds into its containers.

An emptyDir lives as long as the pod, a claim's directory as long as its PersistentVolume. ConfigMaps,
Secrets, projected tokens and downward API files are written the way the kubelet writes them: into a new
directory, to which the link `..data` then moves at once, so that a reader sees all of an update or nothing.
Changes reach the files as soon as the watch brings them (a real kubelet takes up to a minute). Called by
`pod.py`. Sources: "Volumes" and "Projected Volumes" in the Kubernetes documentation.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

from devcluster.kubelet.api import Object
from devcluster.kubelet.context import Context
from devcluster.kubelet.downward import container_resource, field_value
from devcluster.kubelet.nodes import CPUS_PER_NODE, MEMORY_PER_NODE
from devcluster.kubelet.rootfs import Mount

TOKEN_SECONDS: Final = 3607
TOKEN_RENEWED_AT: Final = 0.8  # of its life
NODE_RESOURCES: Final = {"cpu": str(CPUS_PER_NODE), "memory": MEMORY_PER_NODE}
Files = dict[str, tuple[bytes, int]]  # relative path -> content, mode


class VolumeNotReady(Exception):
    """A volume cannot be mounted yet; the text says what it waits for."""


class PodVolumes:
    """The volumes of one pod."""

    def __init__(self, context: Context, pod: Object, pod_ip: str, host_ip: str) -> None:
        self._context = context
        self._pod = pod
        self._pod_ip = pod_ip
        self._host_ip = host_ip
        self._root = context.pod_directory(pod) / "volumes"
        self._sources: dict[str, str] = {}
        self._written: dict[str, Files] = {}
        self._tokens: dict[str, tuple[bytes, float]] = {}  # volume/path -> token, when to renew

    async def prepare(self, pod: Object) -> None:
        """Make or refresh every volume; VolumeNotReady for the first that cannot be made."""
        self._pod = pod
        for volume in pod["spec"].get("volumes") or []:
            self._sources[volume["name"]] = str(await self._prepare_one(volume))

    def mounts(self, container: Object) -> list[Mount]:
        """Return what a container has mounted where."""
        mounts = []
        for mount in container.get("volumeMounts") or []:
            source = self._sources[mount["name"]]
            if below := mount.get("subPath"):
                source = os.path.join(source, below)
                if not os.path.exists(source):
                    os.makedirs(source, exist_ok=True)
                    os.chmod(source, 0o777)
                source = os.path.realpath(source)
            volume = next(each for each in self._pod["spec"]["volumes"] if each["name"] == mount["name"])
            is_files = any(kind in volume for kind in ("configMap", "secret", "projected", "downwardAPI"))
            mounts.append(Mount(source, mount["mountPath"], is_files or bool(mount.get("readOnly"))))
        return mounts

    def concerns(self, kind: str, name: str) -> bool:
        """Whether a ConfigMap or Secret ("configMap", "secret") is part of a volume."""
        for volume in self._pod["spec"].get("volumes") or []:
            for source in [volume, *(volume.get("projected") or {}).get("sources", [])]:
                named = source.get(kind)
                if named and name in (named.get("name"), named.get("secretName")):
                    return True
        return False

    async def _prepare_one(self, volume: Object) -> Path:
        directory: Path = self._root / volume["name"]
        if "emptyDir" in volume:
            if not directory.exists():
                directory.mkdir(parents=True)
                directory.chmod(0o777)
                self._give_to_group(directory)
            return directory
        if claim := volume.get("persistentVolumeClaim"):
            return self._claimed(claim["claimName"])
        if host := volume.get("hostPath"):
            path = Path(host["path"])
            if host.get("type") == "DirectoryOrCreate":
                path.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                raise VolumeNotReady(f"hostPath {path} does not exist")
            return path
        files = await self._files(volume)
        if files is None:
            kinds = ", ".join(set(volume) - {"name"})
            raise VolumeNotReady(f"volumes of the kind {kinds} are not supported by devcluster")
        if self._written.get(volume["name"]) != files:
            write_atomically(directory, files, self._group, self._owner)
            self._written[volume["name"]] = files
        return directory

    async def _files(self, volume: Object) -> Files | None:
        if source := volume.get("configMap"):
            return self._map_files(source, source.get("name"), source.get("defaultMode"))
        if source := volume.get("secret"):
            return self._secret_files(source, source.get("secretName"), source.get("defaultMode"))
        if (source := volume.get("downwardAPI")) is not None:
            return self._downward_files(source, source.get("defaultMode"))
        if (source := volume.get("projected")) is None:
            return None
        files: Files = {}
        mode = source.get("defaultMode")
        for part in source.get("sources") or []:
            if inner := part.get("configMap"):
                files |= self._map_files(inner, inner.get("name"), mode)
            elif inner := part.get("secret"):
                files |= self._secret_files(inner, inner.get("name"), mode)
            elif inner := part.get("downwardAPI"):
                files |= self._downward_files(inner, mode)
            elif inner := part.get("serviceAccountToken"):
                token = await self._token(f"{volume['name']}/{inner['path']}", inner)
                files[inner["path"]] = (
                    token,
                    0o600 if self._owner is not None or self._group is not None else 0o644,
                )
            else:
                raise VolumeNotReady(f"projected source {', '.join(part)} is not supported by devcluster")
        return files

    def _map_files(self, source: Object, name: str | None, mode: int | None) -> Files:
        found = self._context.config_maps.get(self._namespace, name or "")
        if not found:
            return self._absent(source, f'configmap "{name}" not found')
        content = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        content |= {key: b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
        return self._picked(source, content, mode, f'configmap "{name}"')

    def _secret_files(self, source: Object, name: str | None, mode: int | None) -> Files:
        found = self._context.secrets.get(self._namespace, name or "")
        if not found:
            return self._absent(source, f'secret "{name}" not found')
        content = {key: b64decode(value) for key, value in (found.get("data") or {}).items()}
        return self._picked(source, content, mode, f'secret "{name}"')

    def _downward_files(self, source: Object, mode: int | None) -> Files:
        files: Files = {}
        for item in source.get("items") or []:
            if reference := item.get("fieldRef"):
                value = field_value(self._pod, reference["fieldPath"], self._pod_ip, self._host_ip)
            else:
                value = container_resource(self._pod, {}, item["resourceFieldRef"], NODE_RESOURCES)
            files[item["path"]] = (value.encode(), item.get("mode") or mode or 0o644)
        return files

    def _absent(self, source: Object, message: str) -> Files:
        if source.get("optional"):
            return {}
        raise VolumeNotReady(message)

    def _picked(self, source: Object, content: dict[str, bytes], mode: int | None, what: str) -> Files:
        if not source.get("items"):
            return {key: (value, mode or 0o644) for key, value in content.items()}
        files: Files = {}
        for item in source["items"]:
            if item["key"] in content:
                files[item["path"]] = (content[item["key"]], item.get("mode") or mode or 0o644)
            elif not source.get("optional"):
                raise VolumeNotReady(f"{what} has no key {item['key']}")
        return files

    async def _token(self, key: str, source: Object) -> bytes:
        held = self._tokens.get(key)
        if held and time.monotonic() < held[1]:
            return held[0]
        account = self._pod["spec"].get("serviceAccountName", "default")
        seconds = source.get("expirationSeconds") or TOKEN_SECONDS
        metadata = self._pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec: dict[str, Any] = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if source.get("audience"):
            spec["audiences"] = [source["audience"]]
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self._context.client.create(path, request)
        token: bytes = answer["status"]["token"].encode()
        self._tokens[key] = (token, time.monotonic() + TOKEN_RENEWED_AT * seconds)
        return token

    def _claimed(self, name: str) -> Path:
        claim = self._context.claims.get(self._namespace, name)
        if not claim or claim.get("status", {}).get("phase") != "Bound":
            raise VolumeNotReady(f'persistentvolumeclaim "{name}" is not bound')
        volume = self._context.volumes.get("", claim["spec"]["volumeName"])
        if not volume:
            raise VolumeNotReady(f"persistentvolume {claim['spec']['volumeName']} is not known yet")
        source = volume["spec"].get("hostPath") or volume["spec"].get("local")
        if not source or not os.path.isdir(source["path"]):
            raise VolumeNotReady(
                f"persistentvolume {claim['spec']['volumeName']} has no directory on this machine"
            )
        path = Path(source["path"])
        self._give_to_group(path)
        return path

    def _give_to_group(self, directory: Path) -> None:
        """Make a writable volume the fsGroup's, unless its top is already (OnRootMismatch)."""
        if self._group is None or os.geteuid() != 0 or directory.stat().st_gid == self._group:
            return
        for path, directories, names in os.walk(directory):
            for name in [*(os.path.join(path, each) for each in [*directories, *names])]:
                os.chown(name, -1, self._group, follow_symlinks=False)
        os.chown(directory, -1, self._group)
        directory.chmod(directory.stat().st_mode & 0o777 | 0o2070)

    @property
    def _namespace(self) -> str:
        return str(self._pod["metadata"]["namespace"])

    @property
    def _group(self) -> int | None:
        group = (self._pod["spec"].get("securityContext") or {}).get("fsGroup")
        return None if group is None else int(group)

    @property
    def _owner(self) -> int | None:
        """The user of all containers if they have the same one: nobody else then needs to read the token."""
        outer = (self._pod["spec"].get("securityContext") or {}).get("runAsUser")
        users = {
            (each.get("securityContext") or {}).get("runAsUser", outer)
            for each in self._pod["spec"]["containers"]
        }
        only = users.pop() if len(users) == 1 else None
        return None if only is None else int(only)


def write_atomically(directory: Path, files: Files, group: int | None, owner: int | None) -> None:
    """Replace the files of a volume all at once, by moving the link `..data`."""
    directory.mkdir(parents=True, exist_ok=True)
    version = f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{secrets.token_hex(4)}"
    is_root = os.geteuid() == 0
    (directory / version).mkdir(mode=0o755)
    for relative, (content, mode) in files.items():
        path = directory / version / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if is_root:
            os.chown(
                path, owner if owner is not None and mode == 0o600 else -1, -1 if group is None else group
            )
        # What the owner may read the group may read, as the kubelet does for an fsGroup.
        path.chmod(mode | (mode >> 3) & 0o040 if group is not None else mode)
    before = os.readlink(directory / "..data") if (directory / "..data").is_symlink() else None
    (directory / "..data_tmp").symlink_to(version)
    (directory / "..data_tmp").rename(directory / "..data")
    visible = {relative.partition("/")[0] for relative in files}
    for name in visible:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    for stale in directory.iterdir():
        if not stale.name.startswith("..") and stale.name not in visible:
            stale.unlink()
    if before:
        shutil.rmtree(directory / before, ignore_errors=True)
