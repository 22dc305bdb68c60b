"""Memory limits: a container that outgrows its own is killed, as the kernel does in a cgroup.

Every 100 ms the resident sizes of a container's processes are added up. The sum counts pages that a forked
child shares with its parent twice, so before a kill the proportional sizes decide (Pss of smaps_rollup, too
costly for each turn). Between two looks a program may pass its limit; a cgroup would not allow that. Used
by `container.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from devcluster.kubelet.process import ContainerProcess

INTERVAL_S: Final = 0.1
TREE_EVERY: Final = 5  # turns between looks for new child processes
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """All containers with a limit; `run` is its only task."""

    def __init__(self) -> None:
        self._watched: dict[ContainerProcess, tuple[int, Callable[[int], None], list[int]]] = {}
        self._turn = 0

    def add(self, process: ContainerProcess, limit_bytes: int, exceeded: Callable[[int], None]) -> None:
        """Call `exceeded(bytes)` when the container's memory passes its limit."""
        self._watched[process] = (limit_bytes, exceeded, [process.pid])

    async def run(self) -> None:
        """Look at all of them, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self._turn += 1
            for process, (limit, exceeded, pids) in list(self._watched.items()):
                if not process.is_running:
                    del self._watched[process]
                    continue
                if self._turn % TREE_EVERY == 0:
                    pids[:] = process.tree()
                if sum(map(resident_bytes, pids)) > limit:
                    used = sum(map(proportional_bytes, process.tree()))
                    if used > limit:
                        del self._watched[process]
                        exceeded(used)


def resident_bytes(pid: int) -> int:
    """Return a process's resident size; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read(128).split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def proportional_bytes(pid: int) -> int:
    """Return a process's share of the pages it has; its resident size where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, IndexError):
        pass
    return resident_bytes(pid)
