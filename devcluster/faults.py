"""Faults as an interface: what can be broken, and who can break it.

A test says which faults it needs and runs against any provider that has them: `DevclusterFaults` asks our
kubelet, `RealnodeFaults` uses containerd's task interface on a machine that runs a real kubelet,
`ApiFaults` has nothing but a kubeconfig. What a provider cannot do is in `lacking`, with the reason; the
run prints it, so a skipped fault is never mistaken for a survived one. The network faults are nftables
rules on pod addresses and need root. No fault is undone by itself: `thaw`, `restore_node` and
`heal_network` are the caller's, and `down` undoes all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from devcluster.cluster import DevCluster


FILTER_TABLE: Final = """\
add table ip {table}
add chain ip {table} nodes {{ type filter hook output priority 0; policy accept; }}
add chain ip {table} pods {{ type filter hook output priority 1; policy accept; }}
add set ip {table} lost {{ type ipv4_addr; flags interval; }}
add rule ip {table} nodes ip daddr @lost drop
add rule ip {table} nodes ip saddr @lost drop
"""


class Fault(StrEnum):
    """A kind of fault, by the name that tests ask for."""

    KILL = "kill"  # SIGKILL to a container's process
    FREEZE = "freeze"  # SIGSTOP, until thawed
    DELETE = "delete"  # a pod deleted with its grace period
    LOSE_NODE = "lose-node"  # all processes of a node gone, its heartbeat silent
    SILENT_LOSS = "silent-loss"  # a lost node whose addresses do not even refuse a connection
    ISOLATE = "isolate"  # no packet between a pod and other pods; probes still pass
    SLOW = "slow"  # a pod's traffic limited to so many bytes a second


class FaultLacking(Exception):
    """The provider does not have the fault; the text says why."""


class Faults(Protocol):
    """What every provider offers; a method whose fault is in `lacking` raises FaultLacking."""

    provider: str

    @property
    def lacking(self) -> Mapping[Fault, str]: ...

    def kill(self, pod: str, namespace: str = "default", container: str = "") -> None:
        """End the container's process with SIGKILL; returns when it is dead."""

    def freeze(self, pod: str, namespace: str = "default") -> None: ...

    def thaw(self, pod: str, namespace: str = "default") -> None: ...

    def delete(self, pod: str, namespace: str = "default") -> None:
        """Delete the pod with its grace period; returns at once."""

    def lose_node(self, node: str) -> None: ...

    def restore_node(self, node: str) -> None: ...

    def isolate(self, pod: str, namespace: str = "default") -> None: ...

    def slow(self, pod: str, bytes_per_s: int, namespace: str = "default") -> None: ...

    def heal_network(self) -> None: ...


class DevclusterFaults:
    """Everything, as far as the machine allows: our kubelet owns the processes."""

    provider = "devcluster"

    def __init__(self, cluster: DevCluster) -> None:
        self._cluster = cluster

    @property
    def lacking(self) -> Mapping[Fault, str]:
        reason = _why_no_packet_filter()
        return dict.fromkeys((Fault.SILENT_LOSS, Fault.ISOLATE, Fault.SLOW), reason) if reason else {}

    def kill(self, pod: str, namespace: str = "default", container: str = "") -> None:
        self._ask("kill", pod=pod, namespace=namespace, container=container)

    def freeze(self, pod: str, namespace: str = "default") -> None:
        self._ask("freeze", pod=pod, namespace=namespace)

    def thaw(self, pod: str, namespace: str = "default") -> None:
        self._ask("thaw", pod=pod, namespace=namespace)

    def delete(self, pod: str, namespace: str = "default") -> None:
        self._cluster.kubectl("delete", "pod", pod, "-n", namespace, "--wait=false")

    def lose_node(self, node: str) -> None:
        """End a node; where packets can be filtered its addresses fall silent first: no peer sees a close."""
        if Fault.SILENT_LOSS not in self.lacking:
            self._filter(f"add element ip {self._table} lost {{ {self._pod_range(node)} }}")
        self._ask("lose-node", node=node)

    def restore_node(self, node: str) -> None:
        if Fault.SILENT_LOSS not in self.lacking:
            command = ["nft", "delete", "element", "ip", self._table, "lost", "{", self._pod_range(node), "}"]
            subprocess.run(command, capture_output=True)  # fails if the rules were removed meanwhile
        self._ask("restore-node", node=node)

    def isolate(self, pod: str, namespace: str = "default") -> None:
        _require(self, Fault.ISOLATE)
        # The kubelet probes from the node's address, as a real one does, and a partition leaves it alone.
        status = self._cluster.pod(pod, namespace)["status"]
        address, node = status["podIP"], status["hostIP"]
        self._filter(f"add rule ip {self._table} pods ip daddr {address} ip saddr != {node} drop")
        self._filter(f"add rule ip {self._table} pods ip saddr {address} ip daddr != {node} drop")

    def slow(self, pod: str, bytes_per_s: int, namespace: str = "default") -> None:
        _require(self, Fault.SLOW)
        address = self._cluster.pod(pod, namespace)["status"]["podIP"]
        limit = f"limit rate over {bytes_per_s} bytes/second burst {max(bytes_per_s // 4, 16384)} bytes drop"
        for direction in ("saddr", "daddr"):
            self._filter(f"add rule ip {self._table} pods ip {direction} {address} {limit}")

    def heal_network(self) -> None:
        """Undo `isolate` and `slow`; a lost node stays silent."""
        if not _why_no_packet_filter():
            subprocess.run(["nft", "flush", "chain", "ip", self._table, "pods"], capture_output=True)

    def remove_filter(self) -> None:
        """Remove all rules of this cluster, as it ends."""
        if not _why_no_packet_filter() and self._cluster.state.settings.exists():
            subprocess.run(["nft", "delete", "table", "ip", self._table], capture_output=True)

    @property
    def _table(self) -> str:
        return f"redoubt_devcluster_{self._cluster.settings.block}"

    def _pod_range(self, node: str) -> str:
        nodes: list[dict[str, str]] = self._cluster.ask_kubelet("/status")["nodes"]
        found = next((each["pod_range"] for each in nodes if each["name"] == node), None)
        if not found:
            raise RuntimeError(f"there is no node {node}")
        return found

    def _filter(self, rule: str) -> None:
        table = self._table
        listed = subprocess.run(["nft", "list", "table", "ip", table], capture_output=True)
        script = "" if listed.returncode == 0 else FILTER_TABLE.format(table=table)
        subprocess.run(["nft", "-f", "-"], input=script + rule, text=True, check=True, capture_output=True)

    def _ask(self, fault: str, **details: str) -> None:
        self._cluster.ask_kubelet(f"/faults/{fault}", details)


class RealnodeFaults:
    """A real kubelet and containerd on this machine.

    REDOUBT_REALNODE names the directory they were set up in: it holds bin/kubectl and k8s/admin.conf.
    containerd listens on $RUN/ctd.sock, where RUN defaults to /run/rt.
    """

    provider = "realnode"

    def __init__(self, directory: str | Path | None = None) -> None:
        root = Path(directory or os.environ["REDOUBT_REALNODE"])
        self._kubectl = [str(root / "bin" / "kubectl"), f"--kubeconfig={root / 'k8s' / 'admin.conf'}"]
        self._ctr = ["ctr", "-a", f"{os.environ.get('RUN', '/run/rt')}/ctd.sock", "-n", "k8s.io"]

    @property
    def lacking(self) -> Mapping[Fault, str]:
        lacking = dict.fromkeys(
            (Fault.LOSE_NODE, Fault.SILENT_LOSS), "its only node also runs the control plane"
        )
        if os.geteuid() != 0:
            reason = "containerd's socket and the pods' processes belong to root"
            lacking |= {Fault.KILL: reason, Fault.FREEZE: reason}
        if reason := _why_no_packet_filter():
            lacking |= {Fault.ISOLATE: reason, Fault.SLOW: reason}
        return lacking

    def kill(self, pod: str, namespace: str = "default", container: str = "") -> None:
        _require(self, Fault.KILL)
        identity = self._container_id(pod, namespace, container)
        # SIGKILL from outside its process namespace, as the kernel's OOM killer would.
        _run([*self._ctr, "task", "kill", "-s", "SIGKILL", identity])

    def freeze(self, pod: str, namespace: str = "default") -> None:
        self._signal_pod(pod, namespace, "pause")

    def thaw(self, pod: str, namespace: str = "default") -> None:
        self._signal_pod(pod, namespace, "resume")

    def delete(self, pod: str, namespace: str = "default") -> None:
        _run([*self._kubectl, "delete", "pod", pod, "-n", namespace, "--wait=false"])

    def lose_node(self, node: str) -> None:
        _require(self, Fault.LOSE_NODE)

    def restore_node(self, node: str) -> None:
        _require(self, Fault.LOSE_NODE)

    def isolate(self, pod: str, namespace: str = "default") -> None:
        _require(self, Fault.ISOLATE)
        address = self._pod(pod, namespace)["status"]["podIP"]
        # Between pods packets cross the bridge; the kubelet's probes leave the host by OUTPUT and pass.
        for direction in ("saddr", "daddr"):
            self._filter(f"add rule bridge redoubt_realnode forward ip {direction} {address} drop")

    def slow(self, pod: str, bytes_per_s: int, namespace: str = "default") -> None:
        _require(self, Fault.SLOW)
        address = self._pod(pod, namespace)["status"]["podIP"]
        limit = f"limit rate over {bytes_per_s} bytes/second burst {max(bytes_per_s // 4, 16384)} bytes drop"
        for direction in ("saddr", "daddr"):
            self._filter(f"add rule bridge redoubt_realnode forward ip {direction} {address} {limit}")

    def heal_network(self) -> None:
        if not _why_no_packet_filter():
            subprocess.run(["nft", "delete", "table", "bridge", "redoubt_realnode"], capture_output=True)

    def _signal_pod(self, pod: str, namespace: str, verb: str) -> None:
        _require(self, Fault.FREEZE)
        for status in self._pod(pod, namespace)["status"]["containerStatuses"]:
            _run([*self._ctr, "task", verb, status["containerID"].removeprefix("containerd://")])

    def _container_id(self, pod: str, namespace: str, container: str) -> str:
        statuses = self._pod(pod, namespace)["status"]["containerStatuses"]
        status = next(each for each in statuses if not container or each["name"] == container)
        return str(status["containerID"]).removeprefix("containerd://")

    def _pod(self, pod: str, namespace: str) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(
            _run([*self._kubectl, "get", "pod", pod, "-n", namespace, "-o", "json"])
        )
        return parsed

    @staticmethod
    def _filter(rule: str) -> None:
        chain = "{ type filter hook forward priority 0; policy accept; }"
        script = (
            f"add table bridge redoubt_realnode\nadd chain bridge redoubt_realnode forward {chain}\n{rule}\n"
        )
        subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True, capture_output=True)


class ApiFaults:
    """Any cluster that a kubeconfig leads to: pods can be deleted, and nothing else can be broken."""

    provider = "the API alone"

    def __init__(self, kubeconfig: str | Path, kubectl: str = "kubectl") -> None:
        self._kubectl = [kubectl, f"--kubeconfig={kubeconfig}"]

    @property
    def lacking(self) -> Mapping[Fault, str]:
        return {fault: "the API cannot signal processes or nodes" for fault in Fault if fault != Fault.DELETE}

    def kill(self, pod: str, namespace: str = "default", container: str = "") -> None:
        _require(self, Fault.KILL)

    def freeze(self, pod: str, namespace: str = "default") -> None:
        _require(self, Fault.FREEZE)

    def thaw(self, pod: str, namespace: str = "default") -> None:
        _require(self, Fault.FREEZE)

    def delete(self, pod: str, namespace: str = "default") -> None:
        _run([*self._kubectl, "delete", "pod", pod, "-n", namespace, "--wait=false"])

    def lose_node(self, node: str) -> None:
        _require(self, Fault.LOSE_NODE)

    def restore_node(self, node: str) -> None:
        _require(self, Fault.LOSE_NODE)

    def isolate(self, pod: str, namespace: str = "default") -> None:
        _require(self, Fault.ISOLATE)

    def slow(self, pod: str, bytes_per_s: int, namespace: str = "default") -> None:
        _require(self, Fault.SLOW)

    def heal_network(self) -> None:
        """Nothing to heal: no network fault was possible."""


def _require(provider: Faults, fault: Fault) -> None:
    if reason := provider.lacking.get(fault):
        raise FaultLacking(f"{provider.provider} cannot {fault}: {reason}")


def _why_no_packet_filter() -> str:
    if os.geteuid() != 0:
        return "packet filter rules need root"
    return "" if shutil.which("nft") else "the nft command is not installed"


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
