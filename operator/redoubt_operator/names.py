"""The names under which Redoubt's things are found in Kubernetes: group, labels, annotations, ports, objects.

They are an interface: people write selectors, network policies and dashboards with them, and the operator
finds its own objects again by label only. Names of pods and volumes are built here and are never parsed;
what they say about shard and serial is said again by labels.

Used by everything in the operator; knows nothing of the API client.
"""

from typing import Final

GROUP: Final = "redoubt.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "RedoubtCluster"
PLURAL: Final = "redoubtclusters"
FIELD_MANAGER: Final = "redoubt-operator"

LABEL_CLUSTER: Final = f"{GROUP}/cluster"
LABEL_SHARD: Final = f"{GROUP}/shard"
LABEL_SERIAL: Final = f"{GROUP}/serial"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_RETIRED: Final = f"{GROUP}/retired"
"""On volumes: the shard was removed and `storage.reclaim` keeps them; no member takes them any more."""
LABEL_APP: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"

ANNOTATION_PAUSED: Final = f"{GROUP}/paused"
ANNOTATION_REBALANCE: Final = f"{GROUP}/rebalance"
"""Any text; a new one has the slots balanced by bytes and load once."""
ANNOTATION_SWITCHOVER: Final = f"{GROUP}/switchover"
"""`<shard>` or `<shard>/<pod>`, and after a space any text that tells one request from the last."""
ANNOTATION_APPROVED_TEMPLATE: Final = f"{GROUP}/approved-template"
"""The number of the pod template to which running pods may be brought now; see pods.TEMPLATE."""
ANNOTATION_TEMPLATE: Final = f"{GROUP}/template"
"""On pods: by which version of the operator's own template they were made; absent for the first."""
ANNOTATION_REVISION: Final = f"{GROUP}/revision"
"""On pods: the hash of those fields of the spec that a running pod cannot take over without a restart."""

CONTAINER: Final = "server"
PORT_CLIENT: Final = 6379
PORT_BUS: Final = 16379
PORT_METRICS: Final = 9121

SECRET_KEY: Final = "password"

TAINT_OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"


def pod_name(cluster: str, shard: int, serial: int) -> str:
    """Name of the pod of one member."""
    return f"{cluster}-{shard}-{serial}"


def volume_name(cluster: str, shard: int, serial: int) -> str:
    """Name of the claim that holds /data of the pod with the same shard and serial."""
    return f"data-{cluster}-{shard}-{serial}"


def headless_service_name(cluster: str) -> str:
    """Name of the Service that gives members their DNS names."""
    return f"{cluster}-members"


def client_service_name(cluster: str) -> str:
    """Name of the Service for clients."""
    return cluster


def config_map_name(cluster: str) -> str:
    """Name of the ConfigMap with redis.conf."""
    return f"{cluster}-config"


def auth_secret_name(cluster: str) -> str:
    """Name of the Secret that is generated when `auth.secretName` is not given."""
    return f"{cluster}-auth"


def budget_name(cluster: str, shard: int) -> str:
    """Name of a shard's PodDisruptionBudget."""
    return f"{cluster}-{shard}"


def cluster_selector(cluster: str) -> dict[str, str]:
    """Labels that select everything of a cluster."""
    return {LABEL_CLUSTER: cluster}


def shard_selector(cluster: str, shard: int) -> dict[str, str]:
    """Labels that select the members of one shard."""
    return {LABEL_CLUSTER: cluster, LABEL_SHARD: str(shard)}
