"""What the operator tells Prometheus about itself and, from its scrapes, about the clusters.

The operator's own work is counted in ordinary metric objects; the figures of pods are rendered from the
monitor's newest samples at the moment of the scrape, so a pod that is gone leaves no stale series behind.
`main.py` makes one `Metrics` and serves `render()` on /metrics; whoever works counts on it. It decides
nothing. Names: `redoubt_operator_*` for the operator, `redoubt_pod_*` for what it knows of pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from redoubt_operator.observation import Sample
from redoubt_operator.workqueue import Key

RECONCILE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REQUEST_BUCKETS: Final = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class PodFigures:
    """The newest sample of one pod and where it belongs."""

    cluster: Key
    shard: int
    pod: str
    role: str
    sample: Sample


class Metrics:
    """The metrics of one operator process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge(
            "redoubt_operator_leader", "1 while this operator holds the Lease.", registry=self.registry
        )
        self.reconciles = Counter(
            "redoubt_operator_reconciles",
            "Reconciliations by result: done, failed.",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "redoubt_operator_reconcile_seconds",
            "Duration of one reconciliation, by part: observe, plan, act, all.",
            ["part"],
            buckets=RECONCILE_BUCKETS,
            registry=self.registry,
        )
        self.actions = Counter(
            "redoubt_operator_actions",
            "Actions carried out, by kind and result: done, failed.",
            ["action", "result"],
            registry=self.registry,
        )
        self.requests = Counter(
            "redoubt_operator_api_requests",
            "Requests to the Kubernetes API by verb, resource and status (0: no answer).",
            ["verb", "resource", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "redoubt_operator_api_request_seconds",
            "Duration of requests to the Kubernetes API.",
            ["verb"],
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.scrapes = Counter(
            "redoubt_operator_scrapes",
            "Scrapes of pods by result: done, failed.",
            ["result"],
            registry=self.registry,
        )
        self.last_outage = Gauge(
            "redoubt_operator_last_outage_seconds",
            "Measured duration of the last time that a shard had no serving master.",
            ["namespace", "cluster", "shard"],
            registry=self.registry,
        )

    def observe_request(self, verb: str, resource: str, status: int, elapsed_s: float) -> None:
        """Count one request to the Kubernetes API."""
        self.requests.labels(verb, resource, str(status)).inc()
        self.request_seconds.labels(verb).observe(elapsed_s)

    def watch_queue(self, depth: Callable[[], int], working: Callable[[], int]) -> None:
        """Read the work queue's figures whenever they are asked for."""
        Gauge(
            "redoubt_operator_queue_depth", "Clusters that wait for a worker.", registry=self.registry
        ).set_function(depth)
        Gauge("redoubt_operator_queue_working", "Clusters at work.", registry=self.registry).set_function(
            working
        )

    def watch_pods(self, figures: Callable[[], Iterable[PodFigures]]) -> None:
        """Read the pods' figures whenever they are asked for."""
        self.registry.register(_PodCollector(figures))

    def render(self) -> bytes:
        """Render everything in the text format."""
        return generate_latest(self.registry)


_POD_FIGURES: Final[tuple[tuple[str, str, Callable[[Sample], float | None]], ...]] = (
    ("memory_used_bytes", "Memory in use.", lambda sample: sample.used_memory_bytes),
    ("memory_max_bytes", "maxmemory, 0 for no limit.", lambda sample: sample.maxmemory_bytes),
    ("memory_share", "Memory in use as a share of maxmemory.", lambda sample: sample.memory_share),
    ("keys", "Keys.", lambda sample: sample.keys),
    ("evicted_per_second", "Evicted keys a second.", lambda sample: sample.evicted_per_s),
    ("expired_per_second", "Expired keys a second.", lambda sample: sample.expired_per_s),
    ("commands_per_second", "Commands a second.", lambda sample: sample.commands_per_s),
    ("hit_ratio", "Hits as a share of lookups.", lambda sample: sample.hit_ratio),
    ("replica_lag_bytes", "Bytes by which a replica is behind.", lambda sample: sample.replica_lag_bytes),
    ("connected_clients", "Connected clients.", lambda sample: sample.connected_clients),
)


class _PodCollector(Collector):
    def __init__(self, figures: Callable[[], Iterable[PodFigures]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[GaugeMetricFamily]:
        pods = list(self._figures())
        for name, doc, read in _POD_FIGURES:
            family = GaugeMetricFamily(
                f"redoubt_pod_{name}", doc, labels=["namespace", "cluster", "shard", "pod", "role"]
            )
            for pod in pods:
                value = read(pod.sample)
                if value is not None:
                    labels = [pod.cluster.namespace, pod.cluster.name, str(pod.shard), pod.pod, pod.role]
                    family.add_metric(labels, value)
            yield family
