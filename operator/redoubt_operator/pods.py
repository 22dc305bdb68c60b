"""The pod of a member, and the revision by which it is known whether a running one still fits.

Pods run under the restricted Pod Security level, with the password as a file and the pod's address announced.
The revision is the hash of those fields that a person wrote and that a running pod cannot take over: an
operator with another rendering, or with another default, restarts nothing.

Used by the planner.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Final

from redoubt_operator import directives, names, quantity
from redoubt_operator.objects import (
    AUTH_PATH,
    CONFIG_FILE,
    CONFIG_PATH,
    auth_secret_name,
    label_member,
    rendered,
)
from redoubt_operator.observation import ClusterMeta, Manifest
from redoubt_operator.spec import AntiAffinity, ClusterSpec, Placement, PodTemplate, Spread, SpreadRule

TEMPLATE: Final = 1
"""Which version of the rendering below this is; one more with every change that running pods lack.

Pods of an older version run on until the spec changes, or until a person approves this one for a cluster.
"""
USER_ID: Final = 10001  # of the image; any user other than root works
GRACE_PERIOD_S: Final = 30  # half of it for the handover, the rest for the last snapshot
DATA_PATH: Final = "/data"
QUANTITY_MAPS: Final = ("requests", "limits")
STARTUP_FAILURES: Final = 1800  # half an hour of loading, asked every second
LIVENESS_PERIOD_S: Final = 10
LIVENESS_FAILURES: Final = 12  # two minutes: KEYS or a long script must not get a healthy master killed
PROBE_TIMEOUT_S: Final = 5


def pod(spec: ClusterSpec, meta: ClusterMeta, shard: int, serial: int, claim_name: str) -> Manifest:
    """One member. `claim_name` is the volume at /data, or empty for an emptyDir."""
    template = spec.pod_template
    name = names.pod_name(meta.name, shard, serial)
    manifest = rendered("v1", "Pod", name, meta, {"spec": _pod_spec(spec, meta, shard, name, claim_name)})
    metadata = manifest["metadata"]
    metadata["labels"] = {**template.labels, **metadata["labels"]}
    metadata["annotations"] = {**template.annotations, names.ANNOTATION_REVISION: revision(spec)}
    if TEMPLATE > 1:
        metadata["annotations"][names.ANNOTATION_TEMPLATE] = str(TEMPLATE)
    label_member(manifest, shard, serial)
    return manifest


def revision(spec: ClusterSpec) -> str:
    """The hash of what people wrote and a running pod cannot take over.

    Fields at their defaults are left out, so that neither a new field nor a new default changes it.
    """
    parts = {
        "image": _non_default(spec).get("image"),
        "resources": _non_default(spec.resources),
        "podTemplate": _non_default(spec.pod_template),
        "placement": _non_default(_in_old_words(spec.placement)),
        "secret": spec.auth.secret_name,
        "config": directives.restart_directives(spec),
    }
    written = {name: part for name, part in parts.items() if part}
    text = json.dumps(written, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _in_old_words(placement: Placement) -> Placement:
    """The same rules as they were written before `spread`: other words for them restart nothing."""
    nodes, zones = placement.nodes_rule, placement.zones_rule
    return Placement(
        anti_affinity=AntiAffinity.NONE if nodes is SpreadRule.OFF else AntiAffinity(nodes),
        zone_key=None if zones is SpreadRule.OFF else placement.zone_label,
        spread=Spread(zones=zones if zones is SpreadRule.REQUIRED else None),
    )


def _pod_spec(spec: ClusterSpec, meta: ClusterMeta, shard: int, name: str, claim_name: str) -> dict[str, Any]:
    template = spec.pod_template
    data: dict[str, Any] = (
        {"persistentVolumeClaim": {"claimName": claim_name}} if claim_name else {"emptyDir": {}}
    )
    secret = {"secretName": auth_secret_name(spec, meta), "defaultMode": 0o440}
    pod_spec: dict[str, Any] = {
        "hostname": name,
        "subdomain": names.headless_service_name(meta.name),
        "restartPolicy": "Always",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": template.termination_grace_period_seconds or GRACE_PERIOD_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec)],
        "volumes": [
            {"name": "data", **data},
            {"name": "config", "configMap": {"name": names.config_map_name(meta.name)}},
            {"name": "auth", "secret": secret},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    affinity = _affinity(spec, meta, shard)
    if affinity:
        pod_spec["affinity"] = affinity
    constraints = _zone_constraints(spec, meta, shard)
    if constraints:
        pod_spec["topologySpreadConstraints"] = constraints
    _merge_template(pod_spec, template)
    return pod_spec


def _container(spec: ClusterSpec) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": spec.image,
        "command": ["redoubt-server"],
        "args": [
            f"{CONFIG_PATH}/{CONFIG_FILE}",
            *("--bind", "$(POD_IP)", "-127.0.0.1"),  # the dash forgives an address that is taken
            *("--bind-source-addr", "$(POD_IP)"),
            *("--cluster-announce-ip", "$(POD_IP)"),
        ],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [
            {"name": "redis", "containerPort": names.PORT_CLIENT},
            {"name": "bus", "containerPort": names.PORT_BUS},
            {"name": "metrics", "containerPort": names.PORT_METRICS},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/livez", period_s=1, failures=STARTUP_FAILURES),
        "livenessProbe": _probe("/livez", period_s=LIVENESS_PERIOD_S, failures=LIVENESS_FAILURES),
        "readinessProbe": _probe("/readyz", period_s=1, failures=1),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA_PATH},
            {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
            {"name": "auth", "mountPath": AUTH_PATH, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    resources = _resources(spec)
    if resources:
        container["resources"] = resources
    if spec.pod_template.image_pull_policy is not None:
        container["imagePullPolicy"] = spec.pod_template.image_pull_policy
    return container


def _probe(path: str, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.PORT_METRICS},
        "periodSeconds": period_s,
        "timeoutSeconds": PROBE_TIMEOUT_S,
        "failureThreshold": failures,
    }


def _resources(spec: ClusterSpec) -> dict[str, Any]:
    over = spec.pod_template.resources
    merged = {
        "requests": {**spec.resources.requests, **(over.requests if over else {})},
        "limits": {**spec.resources.limits, **(over.limits if over else {})},
    }
    return {name: part for name, part in merged.items() if part}


def _affinity(spec: ClusterSpec, meta: ClusterMeta, shard: int) -> dict[str, Any]:
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": names.shard_selector(meta.name, shard)},
    }
    match spec.placement.nodes_rule:
        case SpreadRule.PREFERRED:
            preferred = [{"weight": 100, "podAffinityTerm": term}]
            apart: dict[str, Any] = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
        case SpreadRule.REQUIRED:
            apart = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        case SpreadRule.OFF:
            return dict(spec.pod_template.affinity)
    return {"podAntiAffinity": apart, **spec.pod_template.affinity}


def _zone_constraints(spec: ClusterSpec, meta: ClusterMeta, shard: int) -> list[dict[str, Any]]:
    rule = spec.placement.zones_rule
    if rule is SpreadRule.OFF:
        return []
    constraint: dict[str, Any] = {
        "maxSkew": 1,
        "topologyKey": spec.placement.zone_label,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names.shard_selector(meta.name, shard)},
    }
    if rule is SpreadRule.REQUIRED:
        # A zone whose nodes are all cordoned takes nobody; counted as empty it would keep members Pending.
        constraint |= {"whenUnsatisfiable": "DoNotSchedule", "nodeTaintsPolicy": "Honor"}
    return [constraint]


def _merge_template(pod_spec: dict[str, Any], template: PodTemplate) -> None:
    if template.node_selector:
        pod_spec["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        pod_spec["tolerations"] = list(template.tolerations)
    if template.image_pull_secrets:
        pod_spec["imagePullSecrets"] = list(template.image_pull_secrets)
    if template.topology_spread_constraints:
        constraints = pod_spec.setdefault("topologySpreadConstraints", [])
        constraints.extend(template.topology_spread_constraints)
    for name, value in (
        ("priorityClassName", template.priority_class_name),
        ("serviceAccountName", template.service_account_name),
        ("schedulerName", template.scheduler_name),
        ("runtimeClassName", template.runtime_class_name),
    ):
        if value is not None:
            pod_spec[name] = value


def _non_default(part: Any) -> dict[str, Any]:
    """The fields of a spec dataclass that differ from their defaults, quantities by value."""
    written: dict[str, Any] = {}
    blank = type(part)()
    for one in fields(part):
        value = getattr(part, one.name)
        if value == getattr(blank, one.name):
            continue
        plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        written[one.name] = _canonical(plain, one.name in QUANTITY_MAPS)
    return written


def _canonical(value: Any, is_quantity: bool = False) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _canonical(one, is_quantity or name in QUANTITY_MAPS)
            for name, one in value.items()
            if one not in (None, {}, ())
        }
    number = quantity.parse(value) if is_quantity and isinstance(value, str) else None
    return value if number is None else str(number.normalize())
