"""The state of one probe: how many results in a row turn success into failure and back.

Pure: `probe_runner.py` asks the container and reports each result here. A readiness probe begins as failed,
a liveness probe as succeeded, a startup probe as undecided. Source: "Configure Probes" in the Kubernetes
documentation; defaults are those of the API (period 10 s, timeout 1 s, 1 success, 3 failures).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe of a container's spec with its defaults."""

    kind: str  # "startup", "readiness", "liveness"
    handler: dict[str, Any]
    initial_delay_s: float
    period_s: float
    timeout_s: float
    success_threshold: int
    failure_threshold: int

    @classmethod
    def of(cls, kind: str, spec: dict[str, Any]) -> ProbeSpec:
        return cls(
            kind=kind,
            handler=spec,
            initial_delay_s=spec.get("initialDelaySeconds", 0),
            period_s=spec.get("periodSeconds") or 10,
            timeout_s=spec.get("timeoutSeconds") or 1,
            success_threshold=spec.get("successThreshold") or 1,
            failure_threshold=spec.get("failureThreshold") or 3,
        )


class ProbeState:
    """The verdict so far: True, False, or None before the first decision of a startup probe."""

    def __init__(self, spec: ProbeSpec) -> None:
        self._spec = spec
        self._last: bool | None = None
        self._run_length = 0
        self.verdict: bool | None = {"startup": None, "readiness": False, "liveness": True}[spec.kind]

    def record(self, is_success: bool) -> bool:
        """Take one result; return whether the verdict changed."""
        self._run_length = self._run_length + 1 if is_success is self._last else 1
        self._last = is_success
        needed = self._spec.success_threshold if is_success else self._spec.failure_threshold
        if self._run_length < needed or self.verdict is is_success:
            return False
        self.verdict = is_success
        return True
