"""Builders of the objects around the pods: Services, redis.conf, Secret, disruption budgets, volumes.

They go from the spec to manifests and know no client. Every object carries the cluster's label and a
controlling owner reference, so that deletion is the garbage collector's work and no finalizer is needed;
volumes carry the reference only under `storage.reclaim: Delete`. `contains` says whether a live object
already has what a manifest asks for.

Used by the planner; pods.py builds the pods.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from redoubt_operator import directives, names
from redoubt_operator.observation import ClusterMeta, Manifest
from redoubt_operator.spec import ClusterSpec, Reclaim

CONFIG_PATH: Final = "/etc/redoubt"
CONFIG_FILE: Final = "redoubt.conf"
AUTH_PATH: Final = "/etc/redoubt-auth"

EMPTY: Final = '""'  # an empty value in redis.conf


def owner_reference(meta: ClusterMeta) -> dict[str, Any]:
    """The reference by which the garbage collector removes an object with its cluster."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
    }


def services(meta: ClusterMeta) -> tuple[Manifest, ...]:
    """The headless Service that gives members their names, and the Service for clients."""
    selector = names.cluster_selector(meta.name)
    client = [_port("redis", names.PORT_CLIENT)]
    every = [*client, _port("bus", names.PORT_BUS), _port("metrics", names.PORT_METRICS)]
    headless = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,  # members find each other before they are ready
        "selector": selector,
        "ports": every,
    }
    return (
        rendered("v1", "Service", names.headless_service_name(meta.name), meta, {"spec": headless}),
        rendered(
            "v1",
            "Service",
            names.client_service_name(meta.name),
            meta,
            {"spec": {"type": "ClusterIP", "selector": selector, "ports": client}},
        ),
    )


def config_map(
    spec: ClusterSpec,
    meta: ClusterMeta,
    unknown: Collection[str] = (),
    unsettled: Collection[str] = (),
    live: Manifest | None = None,
) -> Manifest:
    """redis.conf as a ConfigMap, without the directives that the servers do not know, and with those that
    are unsettled as the live ConfigMap has them.

    A server refuses to start with an unknown directive, so one wrong word in the spec of a running cluster
    would end it with the next restarts.
    """
    written = str(((live or {}).get("data") or {}).get(CONFIG_FILE, ""))
    kept = {line.partition(" ")[0]: line for line in written.splitlines()}
    lines = [
        kept.get(name, "") if name in unsettled and live is not None else f"{name} {value or EMPTY}"
        for name, value in directives.directives(spec).items()
        if name not in unknown
    ]
    text = "\n".join(line for line in lines if line) + "\n"
    return rendered("v1", "ConfigMap", names.config_map_name(meta.name), meta, {"data": {CONFIG_FILE: text}})


def auth_secret(meta: ClusterMeta) -> Manifest:
    """The generated Secret without its password, which the executor draws."""
    return rendered("v1", "Secret", names.auth_secret_name(meta.name), meta, {"type": "Opaque"})


def auth_secret_name(spec: ClusterSpec, meta: ClusterMeta) -> str:
    """The Secret that the pods mount: the given one, else the generated one."""
    return spec.auth.secret_name or names.auth_secret_name(meta.name)


def budget(meta: ClusterMeta, shard: int, available_min: int) -> Manifest:
    """The one PodDisruptionBudget of a shard.

    An integer: maxUnavailable would be computed from our scale subresource, which counts shards.
    """
    spec = {
        "minAvailable": available_min,
        "unhealthyPodEvictionPolicy": "IfHealthyBudget",
        "selector": {"matchLabels": names.shard_selector(meta.name, shard)},
    }
    manifest = rendered(
        "policy/v1", "PodDisruptionBudget", names.budget_name(meta.name, shard), meta, {"spec": spec}
    )
    manifest["metadata"]["labels"][names.LABEL_SHARD] = str(shard)
    return manifest


def claim(spec: ClusterSpec, meta: ClusterMeta, shard: int, serial: int) -> Manifest:
    """The volume of one member. `spec.storage` must be set."""
    assert spec.storage is not None
    wanted: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": spec.storage.size}},
    }
    if spec.storage.class_name is not None:
        wanted["storageClassName"] = spec.storage.class_name
    manifest = rendered(
        "v1",
        "PersistentVolumeClaim",
        names.volume_name(meta.name, shard, serial),
        meta,
        {"spec": wanted},
    )
    label_member(manifest, shard, serial)
    # By this label Argo CD before version 3 knows what belongs to an application. A volume without an owner
    # that carried the name of one would be deleted by it, with its data.
    del manifest["metadata"]["labels"][names.LABEL_INSTANCE]
    if spec.storage.reclaim is Reclaim.RETAIN:
        del manifest["metadata"]["ownerReferences"]
    return manifest


def contains(live: Any, wanted: Any) -> bool:
    """Whether `live` has everything that `wanted` says; what others added does not count as a difference."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            name in live and contains(live[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(live, list | tuple)
            and len(live) == len(wanted)
            and all(contains(one, other) for one, other in zip(live, wanted, strict=True))
        )
    return bool(live == wanted)


def rendered(api: str, kind: str, name: str, meta: ClusterMeta, body: Mapping[str, Any]) -> dict[str, Any]:
    """An object of a cluster: name, labels and owner, and `body` beside them."""
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": {
                names.LABEL_APP: "redoubt",
                names.LABEL_INSTANCE: meta.name,
                names.LABEL_MANAGED_BY: "redoubt-operator",
                names.LABEL_CLUSTER: meta.name,
            },
            "ownerReferences": [owner_reference(meta)],
        },
        **body,
    }


def label_member(manifest: dict[str, Any], shard: int, serial: int) -> None:
    """Add what a member\'s name says to its labels, where it is read."""
    manifest["metadata"]["labels"].update({names.LABEL_SHARD: str(shard), names.LABEL_SERIAL: str(serial)})


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}
