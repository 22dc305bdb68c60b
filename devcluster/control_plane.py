"""The processes of the control plane: the command line of each, and what "ready" means for it.

The flags turn a production control plane into one for a single machine: no fsync, no leader election, no
serving ports that nobody asks, failure timeouts of seconds. Endpoint controllers stay off, because the API
refuses EndpointSlices with loopback addresses; the kubelet forwards Services by their selectors instead.
Used by the supervisor only. Flags: the reference pages of the four programs on kubernetes.io.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Final

from devcluster.state import Settings, State

NODE_GRACE_S: Final = 8  # a node whose Lease is older is NotReady; Kubernetes: 50 s
UNREACHABLE_TOLERATION_S: Final = 10  # then its pods are evicted; Kubernetes: 300 s
CONTROLLERS_OFF: Final = (
    "endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller",
    "node-ipam-controller", "node-route-controller", "service-lb-controller",
    "cloud-node-lifecycle-controller", "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-approving-controller", "certificatesigningrequest-cleaner-controller",
    "horizontal-pod-autoscaler-controller", "storage-version-migrator-controller",
    "device-taint-eviction-controller", "resourceclaim-controller",
    "persistentvolume-attach-detach-controller",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Component:
    """One process: what it is called in messages and logs, and its command."""

    name: str
    command: list[str]


def etcd(state: State, settings: Settings) -> Component:
    """Return etcd, alone and without fsync."""
    client = f"http://{settings.control_plane_address}:{settings.etcd_port}"
    peer = f"http://{settings.control_plane_address}:{settings.etcd_peer_port}"
    return Component("etcd", [
        settings.binaries["etcd"], "--name=devcluster", f"--data-dir={state.etcd}", "--unsafe-no-fsync",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=devcluster={peer}", "--log-level=warn",
        # A single member needs no quick election, and each heartbeat tick wakes it up.
        "--heartbeat-interval=500", "--election-timeout=2500",
    ])  # fmt: skip


def apiserver(state: State, settings: Settings) -> Component:
    """Return the API server, with RBAC, tokens and PodSecurity as in any cluster."""
    pki = state.pki
    return Component("kube-apiserver", [
        settings.binaries["kube-apiserver"],
        f"--etcd-servers=http://{settings.control_plane_address}:{settings.etcd_port}",
        f"--bind-address={settings.control_plane_address}",
        f"--advertise-address={settings.control_plane_address}", f"--secure-port={settings.api_port}",
        "--endpoint-reconciler-type=none", f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key", f"--client-ca-file={pki}/ca.crt",
        f"--token-auth-file={pki}/tokens.csv", "--authorization-mode=Node,RBAC", "--anonymous-auth=false",
        f"--service-cluster-ip-range={settings.service_range}",
        f"--service-account-key-file={pki}/service-account.key",
        f"--service-account-signing-key-file={pki}/service-account.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key", "--kubelet-preferred-address-types=InternalIP",
        f"--default-not-ready-toleration-seconds={UNREACHABLE_TOLERATION_S}",
        f"--default-unreachable-toleration-seconds={UNREACHABLE_TOLERATION_S}", "--allow-privileged=true",
        "--profiling=false", "--event-ttl=1h", "--shutdown-delay-duration=0s",
    ])  # fmt: skip


def controller_manager(state: State, settings: Settings) -> Component:
    """Return the controller manager without the controllers that have nothing to do here."""
    return Component("kube-controller-manager", [
        settings.binaries["kube-controller-manager"], f"--kubeconfig={state.kubeconfig}", "--secure-port=0",
        "--leader-elect=false", "--use-service-account-credentials=false",
        f"--service-account-private-key-file={state.pki}/service-account.key",
        f"--root-ca-file={state.pki}/ca.crt", "--allocate-node-cidrs=false", "--profiling=false",
        f"--controllers=*,{','.join('-' + name for name in CONTROLLERS_OFF)}",
        f"--node-monitor-grace-period={NODE_GRACE_S}s", "--node-monitor-period=2s",
        # The limits of Kubernetes protect a control plane shared by thousands; here they would slow the
        # tests down.
        "--kube-api-qps=200", "--kube-api-burst=400", "--pvclaimbinder-sync-period=2s",
        "--node-eviction-rate=10", "--secondary-node-eviction-rate=10", "--unhealthy-zone-threshold=1",
    ])  # fmt: skip


def scheduler(state: State, settings: Settings) -> Component:
    """Return the scheduler, as it is."""
    return Component("kube-scheduler", [
        settings.binaries["kube-scheduler"], f"--kubeconfig={state.kubeconfig}", "--secure-port=0",
        "--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400", "--profiling=false",
        f"--authentication-kubeconfig={state.kubeconfig}", f"--authorization-kubeconfig={state.kubeconfig}",
    ])  # fmt: skip


def is_ready(state: State, settings: Settings) -> bool:
    """Ask the API server once whether it is ready; False for every kind of not yet."""
    request = urllib.request.Request(f"{settings.api_url}/readyz")
    request.add_header("Authorization", f"Bearer {settings.admin_token}")
    try:
        context = ssl.create_default_context(cafile=str(state.pki / "ca.crt"))
        with urllib.request.urlopen(request, context=context, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
