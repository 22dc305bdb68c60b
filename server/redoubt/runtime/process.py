"""What only the process knows: how much memory and CPU time it uses, what it runs, on which system.

The figures come from /proc on Linux, and from getrusage where there is no /proc. The runtime puts one
`RunningProcess` into the node's state; INFO and the metrics ask it. Source: proc(5), getrusage(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from redoubt.hooks import ProcessHook

if TYPE_CHECKING:
    from redoubt.runtime.busy import BusyService
    from redoubt.session import Session

# Where a container's memory limit stands: cgroup v2, then v1.
CONTAINER_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
PAGE_BYTES: Final = resource.getpagesize()
_STATM: Final = "/proc/self/statm"


class RunningProcess(ProcessHook):
    """The process that this code runs in."""

    def __init__(self) -> None:
        super().__init__()
        # Set by the runtime once there are sockets.
        self.busy: BusyService | None = None
        self.pid = os.getpid()
        self.executable = os.path.abspath(sys.argv[0])
        self.operating_system = f"{platform.system()} {platform.release()} {platform.machine()}"
        self.memory_total_bytes = PAGE_BYTES * os.sysconf("SC_PHYS_PAGES")
        self.resident_start_bytes = self.resident_bytes()
        self._malloc_trim = find_malloc_trim()

    def resident_bytes(self) -> int:
        """Read the resident set size; without /proc, the largest that it ever was."""
        try:
            with open(_STATM, encoding="ascii") as file:
                return int(file.read().split()[1]) * PAGE_BYTES
        except OSError:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def give_back_memory(self) -> bool:
        """Return free pages to the system: Python's arenas go by themselves, glibc has to be told."""
        if self._malloc_trim is None:
            return False
        self._malloc_trim(0)
        return True

    def serve_others(self, caller: Session) -> None:
        """Serve other clients from within a script, where there are sockets."""
        if self.busy is not None:
            self.busy.serve(caller)

    def show_life(self) -> None:
        """Answer the bus and the health port from within a script, where there are sockets."""
        if self.busy is not None:
            self.busy.heartbeat.beat()

    def served_others(self) -> None:
        """Go back to the loop: the script has ended."""
        if self.busy is not None:
            self.busy.finish()

    def monotonic_ms(self) -> int:
        """Read the monotonic clock."""
        return time.monotonic_ns() // 1_000_000

    def cpu_seconds(self) -> tuple[float, float, float, float]:
        """Read the CPU time of this process and of its ended children."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (own.ru_stime, own.ru_utime, children.ru_stime, children.ru_utime)

    def unguessable(self, count: int) -> bytes:
        """Ask the operating system for random bytes."""
        return os.urandom(count)


def find_malloc_trim() -> Callable[[int], int] | None:
    """Find glibc's malloc_trim; other C libraries have none."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return found


def container_limit_bytes(paths: tuple[Path, ...] = CONTAINER_LIMITS) -> int:
    """Return the memory limit of the container that this process runs in; 0: none.

    What is as large as the machine limits nothing: version 1 writes a huge number for "no limit".
    """
    total = PAGE_BYTES * os.sysconf("SC_PHYS_PAGES")
    for path in paths:
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(text) if text.isdigit() and int(text) < total else 0
    return 0
