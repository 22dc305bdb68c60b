"""Times as the Kubernetes API writes them.

Statuses and Events have whole seconds, Leases microseconds; all are UTC. Used wherever the kubelet reports.
"""

from __future__ import annotations

from datetime import UTC, datetime


def now_text() -> str:
    """Return the time in whole seconds, as statuses and Events have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time_text() -> str:
    """Return the time in microseconds, as Leases have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
