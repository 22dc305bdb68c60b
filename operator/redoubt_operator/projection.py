"""From the API's JSON to what the planner may see: small values, nothing kept of the rest.

One function for each kind of object. They are total: a field that is missing or has not been filled yet
becomes the value that `observation.py` names for it, since a pod passes through many incomplete states.
Called by the observer and the tests only; nothing here decides or asks anything.

Rules: the API reference of Kubernetes (Pod, PersistentVolumeClaim, Node, Secret).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from redoubt_operator import quantity
from redoubt_operator.names import (
    ANNOTATION_REVISION,
    ANNOTATION_TEMPLATE,
    CONTAINER,
    LABEL_RETIRED,
    LABEL_ROLE,
    LABEL_SERIAL,
    LABEL_SHARD,
    SECRET_KEY,
    TAINT_OUT_OF_SERVICE,
)
from redoubt_operator.observation import (
    AuthSecret,
    Claim,
    ClusterMeta,
    Container,
    ContainerState,
    HostNode,
    Manifest,
    Pod,
    PodPhase,
    Termination,
)

LABEL_ZONE: Final = "topology.kubernetes.io/zone"
# Cluster Autoscaler and Karpenter put these on a node before they evict its pods.
TAINTS_OF_LEAVING: Final = frozenset({"ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted"})
DATA_PATH: Final = "/data"


def cluster_meta(manifest: Manifest) -> ClusterMeta:
    """Project the metadata of a RedoubtCluster."""
    metadata = manifest["metadata"]
    return ClusterMeta(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        created_at_s=seconds(metadata.get("creationTimestamp")) or 0.0,
        is_deleting="deletionTimestamp" in metadata,
        annotations=metadata.get("annotations") or {},
        labels=metadata.get("labels") or {},
    )


def pod(manifest: Manifest) -> Pod:
    """Project a pod."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    is_unschedulable = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    grace_s = metadata.get("deletionGracePeriodSeconds")
    server = _named(spec.get("containers"), CONTAINER)
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion", ""),
        shard=_number(labels.get(LABEL_SHARD)),
        serial=_number(labels.get(LABEL_SERIAL)),
        role_label=labels.get(LABEL_ROLE, ""),
        revision=annotations.get(ANNOTATION_REVISION, ""),
        template=_number(annotations.get(ANNOTATION_TEMPLATE)) or 1,
        phase=PodPhase(status.get("phase", PodPhase.PENDING)),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        unschedulable=scheduled.get("message", "unschedulable") if is_unschedulable else "",
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        ip=status.get("podIP", ""),
        node=spec.get("nodeName", ""),
        container=container(_named(status.get("containerStatuses"), CONTAINER)),
        created_at_s=seconds(metadata.get("creationTimestamp")) or 0.0,
        deleting_since_s=_deleting_since_s(metadata, grace_s),
        grace_period_s=grace_s,
        claim=_claim_name(spec, server),
        owner_uid=_owner_uid(metadata),
        memory_limit_bytes=_memory_limit_bytes(server),
    )


def container(status: Mapping[str, Any]) -> Container:
    """Project an entry of containerStatuses; {} gives the state before the kubelet's first report."""
    state = status.get("state") or {}
    kind = next((kind for kind in ContainerState if kind.value in state), ContainerState.WAITING)
    details = state.get(kind.value) or {}
    # A container that ended and was not restarted has its end in `state`, a restarted one in `lastState`.
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    return Container(
        state=kind,
        reason=details.get("reason", ""),
        message=details.get("message", ""),
        started_at_s=seconds(details.get("startedAt")),
        restart_count=status.get("restartCount", 0),
        last_termination=None
        if not ended
        else Termination(
            exit_code=ended.get("exitCode", 0),
            reason=ended.get("reason", ""),
            finished_at_s=seconds(ended.get("finishedAt")) or 0.0,
            started_at_s=seconds(ended.get("startedAt")) or 0.0,
        ),
    )


def claim(manifest: Manifest) -> Claim:
    """Project a PersistentVolumeClaim."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    labels = metadata.get("labels") or {}
    return Claim(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion", ""),
        shard=_number(labels.get(LABEL_SHARD)),
        serial=_number(labels.get(LABEL_SERIAL)),
        size_requested=((spec.get("resources") or {}).get("requests") or {}).get("storage", ""),
        size_actual=(status.get("capacity") or {}).get("storage", ""),
        phase=status.get("phase", "Pending"),
        is_terminating="deletionTimestamp" in metadata,
        owner_uid=_owner_uid(metadata),
        created_at_s=seconds(metadata.get("creationTimestamp")) or 0.0,
        is_retired=LABEL_RETIRED in labels,
    )


def password(manifest: Manifest) -> str:
    """Read the password out of its Secret; empty when the key is missing or is not valid base64 or UTF-8."""
    encoded = (manifest.get("data") or {}).get(SECRET_KEY, "")
    try:
        return base64.b64decode(encoded, validate=True).decode().rstrip("\r\n")
    except ValueError:
        return ""


def auth_secret(manifest: Manifest) -> AuthSecret:
    """Project a Secret with a password to the fact that it exists and a hash."""
    metadata = manifest["metadata"]
    text = password(manifest)
    return AuthSecret(
        name=metadata["name"],
        resource_version=metadata.get("resourceVersion", ""),
        password_hash=hashlib.sha256(text.encode()).hexdigest() if text else "",
        owner_uid=_owner_uid(metadata),
    )


def host_node(manifest: Manifest, zone_label: str = LABEL_ZONE) -> HostNode:
    """Project a node. It counts as cordoned, too, when an autoscaler has marked it as going."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    taints = {taint.get("key") for taint in spec.get("taints") or []}
    return HostNode(
        name=metadata["name"],
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        is_cordoned=bool(spec.get("unschedulable")) or not taints.isdisjoint(TAINTS_OF_LEAVING),
        is_out_of_service=TAINT_OUT_OF_SERVICE in taints,
        zone=(metadata.get("labels") or {}).get(zone_label, ""),
    )


def seconds(timestamp: str | None) -> float | None:
    """Turn an RFC 3339 timestamp into Unix seconds."""
    if not timestamp:
        return None
    return datetime.fromisoformat(timestamp).timestamp()


def rfc3339(at_s: float) -> str:
    """Turn Unix seconds into a timestamp with microseconds, as Leases and Events have them."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _memory_limit_bytes(server: Mapping[str, Any]) -> int | None:
    limit = ((server.get("resources") or {}).get("limits") or {}).get("memory")
    return None if limit is None else quantity.bytes_of(str(limit))


def _deleting_since_s(metadata: Mapping[str, Any], grace_s: int | None) -> float | None:
    """deletionTimestamp is when the grace period ends; what people ask is when the deletion began."""
    ends_at_s = seconds(metadata.get("deletionTimestamp"))
    return None if ends_at_s is None else ends_at_s - (grace_s or 0)


def _claim_name(spec: Mapping[str, Any], server: Mapping[str, Any]) -> str:
    mount: Mapping[str, Any] = next(
        (m for m in server.get("volumeMounts") or [] if m.get("mountPath") == DATA_PATH), {}
    )
    volume = _named(spec.get("volumes"), mount.get("name", ""))
    name: str = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
    return name


def _owner_uid(metadata: Mapping[str, Any]) -> str:
    owners = metadata.get("ownerReferences") or []
    controller = next((owner for owner in owners if owner.get("controller")), None)
    uid: str = (controller or (owners[0] if owners else {})).get("uid", "")
    return uid


def _named(items: list[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any]:
    return next((item for item in items or [] if item.get("name") == name), {})


def _number(label: str | None) -> int | None:
    return int(label) if label is not None and label.isdecimal() else None
