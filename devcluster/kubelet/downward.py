"""The downward API: what a pod may read about itself, by field path or resource name.

Pure. Used for environment variables and for downwardAPI volumes. Source: "Downward API" in the Kubernetes
documentation, which lists the fields.
"""

from __future__ import annotations

import re
from typing import Any, Final

from devcluster.kubelet.api import Object
from devcluster.kubelet.environment import resource_value

ENTRY_OF_MAP: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def field_value(pod: Object, path: str, pod_ip: str, host_ip: str) -> str:
    """Return the value at a field path; ValueError if the downward API has no such field."""
    metadata, spec = pod["metadata"], pod["spec"]
    if found := ENTRY_OF_MAP.fullmatch(path):
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata[path.removeprefix("metadata.")])
        case "metadata.labels" | "metadata.annotations":
            entries = metadata.get(path.removeprefix("metadata.")) or {}
            return "\n".join(f'{name}="{_escaped(value)}"' for name, value in sorted(entries.items()))
        case "spec.nodeName":
            return str(spec["nodeName"])
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName", "default"))
        case "status.podIP" | "status.podIPs":
            return pod_ip
        case "status.hostIP" | "status.hostIPs":
            return host_ip
    raise ValueError(f"the downward API has no field {path}")


def container_resource(
    pod: Object, container: Object, reference: dict[str, Any], defaults: dict[str, str]
) -> str:
    """Return what a resourceFieldRef names; a limit that is not set is the node's."""
    if named := reference.get("containerName"):
        container = next(each for each in pod["spec"]["containers"] if each["name"] == named)
    kind, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    quantity = (resources.get(kind) or {}).get(resource)
    if quantity is None:
        quantity = defaults.get(resource, "0") if kind == "limits" else "0"
    return resource_value(str(quantity), str(reference.get("divisor") or ""))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
