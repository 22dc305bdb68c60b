"""Settings of the operator's process, read once at start from command-line arguments and the environment.

They say where the operator works (its own namespace, which namespaces it watches) and how patient it is. What
people want of a cluster is not here but in spec.py. main.py reads them and passes them on; nothing else looks
at the environment.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

MEMBER_DEADLINE_S: Final = 1.0  # RESP round trip or scrape; a server that is slower counts as not seen
RESYNC_S: Final = 60.0  # full look at every resource although nothing woke it
RESYNC_JITTER: Final = 0.2  # so that a hundred resources do not wake together
LEASE_DURATION_S: Final = 8.0
LEASE_RENEW_DEADLINE_S: Final = 5.0
LEASE_RETRY_S: Final = 1.0
WORKERS: Final = 8  # reconciles at the same time; each mostly waits for the network


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs."""

    namespace: str = "redoubt-system"  # where the Lease lives
    identity: str = "redoubt-operator"  # holder of the Lease; the pod's name in a cluster
    watch_namespaces: tuple[str, ...] = ()  # empty: all of them
    watch_nodes: bool = True  # only with the optional ClusterRole
    http_port: int = 8080  # /metrics, /livez, /readyz
    http_address: str = "0.0.0.0"
    workers: int = WORKERS
    log_level: str = "info"
    kubeconfig: str | None = None  # None: the pod's service account


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings from `--option value` arguments, else from REDOUBT_* variables, else the defaults.

    POD_NAMESPACE and POD_NAME come from the downward API. argparse prints a usage error and exits on a wrong
    argument.
    """
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="redoubt-operator", description="Runs RedoubtCluster resources.")
    parser.add_argument("--namespace", default=environment.get("POD_NAMESPACE", defaults.namespace))
    parser.add_argument("--identity", default=environment.get("POD_NAME", defaults.identity))
    parser.add_argument(
        "--dev", action="store_true", help="run outside of the cluster, with $KUBECONFIG or ~/.kube/config"
    )
    parser.add_argument("--version", action="version", version=f"redoubt-operator {version('redoubt')}")
    parser.add_argument(
        "--watch-namespaces",
        default=environment.get("REDOUBT_WATCH_NAMESPACES", ""),
        help="comma-separated; empty means all",
    )
    parser.add_argument(
        "--watch-nodes",
        choices=("yes", "no"),
        default=environment.get("REDOUBT_WATCH_NODES", "yes"),
        help="whether Nodes may be read (needs the optional ClusterRole)",
    )
    parser.add_argument(
        "--http-port", type=int, default=int(environment.get("REDOUBT_HTTP_PORT", defaults.http_port))
    )
    parser.add_argument(
        "--http-address", default=environment.get("REDOUBT_HTTP_ADDRESS", defaults.http_address)
    )
    parser.add_argument("--workers", type=int, default=defaults.workers)
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=environment.get("REDOUBT_LOG_LEVEL", defaults.log_level),
    )
    chosen = parser.parse_args(list(arguments))
    watched = (name.strip() for name in chosen.watch_namespaces.split(","))
    return Settings(
        namespace=chosen.namespace,
        identity=chosen.identity,
        watch_namespaces=tuple(name for name in watched if name),
        watch_nodes=chosen.watch_nodes == "yes",
        http_port=chosen.http_port,
        http_address=chosen.http_address,
        workers=chosen.workers,
        log_level=chosen.log_level,
        kubeconfig=environment.get("KUBECONFIG", "~/.kube/config") if chosen.dev else None,
    )
