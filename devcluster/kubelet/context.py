"""What every part of the kubelet shares: the API, the cached objects, the machine.

Built once by `kubelet.py` and handed down; it has no behaviour beyond naming where a pod's files lie.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster.kubelet.api import ApiClient, Object, WatchCache
from devcluster.kubelet.events import EventRecorder
from devcluster.kubelet.memory import MemoryWatch
from devcluster.kubelet.process import Isolation
from devcluster.state import Settings, State


@dataclass(slots=True)
class Context:
    """One kubelet's world."""

    client: ApiClient
    state: State
    settings: Settings
    isolation: Isolation
    events: EventRecorder
    memory: MemoryWatch
    config_maps: WatchCache
    secrets: WatchCache
    claims: WatchCache
    volumes: WatchCache

    def pod_directory(self, pod: Object) -> Path:
        """Return where a pod's logs and volumes lie on the machine."""
        return self.state.pods / str(pod["metadata"]["uid"])

    def remove_pod_directory(self, pod: Object) -> None:
        shutil.rmtree(self.pod_directory(pod), ignore_errors=True)
