"""The process that owns a running devcluster: it starts the others, restarts what dies, takes all with it.

Every child asks the kernel for SIGKILL when its parent dies (PR_SET_PDEATHSIG), the kubelet passes the same
on to the pods, so neither a crash nor `kill -9` of this process leaves anything behind. It is started
detached by `up`, holds the lock of the state directory and the claim on the address block, and ends on
SIGTERM. It does no work of its own: no opinion about the content of the cluster.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from devcluster import control_plane
from devcluster.certificates import make_certificates, write_kubeconfig
from devcluster.control_plane import Component
from devcluster.state import ENVIRONMENT_MARK, Settings, State, StateLock, claim_block, new_settings

API_TIMEOUT_S: Final = 90
RESTART_PAUSE_S: Final = 1.0  # a component that cannot start must not fill the disk with its logs
TEND_INTERVAL_S: Final = 5.0  # SIGCHLD wakes it; two children that end together are one signal
PR_SET_PDEATHSIG: Final = 1
LIBC: Final = ctypes.CDLL(None, use_errno=True)
REPOSITORY: Final = Path(__file__).resolve().parent.parent


def log(text: str) -> None:
    """Write a line to the supervisor's log, its standard output."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Supervisor:
    """The children of one devcluster, by name."""

    def __init__(self, state: State, settings: Settings) -> None:
        self._state = state
        self._settings = settings
        self._components: dict[str, Component] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at: dict[str, float] = {}

    def start(self) -> None:
        """Start the control plane in the order of its needs, then the kubelet."""
        state, settings = self._state, self._settings
        began = time.monotonic()
        self._start(control_plane.etcd(state, settings))
        self._start(control_plane.apiserver(state, settings))
        deadline = began + API_TIMEOUT_S
        while not control_plane.is_ready(state, settings):
            self.tend()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the API server was not ready within {API_TIMEOUT_S} s")
            if signal.sigtimedwait([signal.SIGTERM, signal.SIGINT], 0.05):
                raise SystemExit("stopped while starting")
        log(f"API server ready after {time.monotonic() - began:.1f} s")
        self._start(control_plane.controller_manager(state, settings))
        self._start(control_plane.scheduler(state, settings))
        self._start(Component("kubelet", [sys.executable, "-m", "devcluster.kubelet", str(state.root)]))

    def tend(self) -> None:
        """Restart what ended by itself."""
        for name, process in list(self._running.items()):
            if process.poll() is None:
                continue
            log(f"{name} ended with {process.returncode}; its log: {self._state.logs / name}.log")
            time.sleep(max(0.0, self._started_at[name] + RESTART_PAUSE_S - time.monotonic()))
            self._start(self._components[name])

    def run(self) -> None:
        """Tend until told to stop."""
        while True:
            self.tend()
            woken = signal.sigtimedwait([signal.SIGCHLD, signal.SIGTERM, signal.SIGINT], TEND_INTERVAL_S)
            if woken and woken.si_signo != signal.SIGCHLD:
                return

    def stop(self) -> None:
        """End all children: the kubelet first, so that pods do not see the API server go."""
        for name in ("kubelet", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            if process := self._running.get(name):
                # Nobody needs a graceful end: pods die with the kubelet, the data with the state directory.
                process.kill()
                process.wait()

    def _start(self, component: Component) -> None:
        self._components[component.name] = component
        with open(self._state.logs / f"{component.name}.log", "ab") as output:
            self._running[component.name] = subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
                env=os.environ | {ENVIRONMENT_MARK: str(self._state.root)},
                preexec_fn=_dies_with(os.getpid()),  # noqa: PLW1509  this process has no threads
            )
        self._started_at[component.name] = time.monotonic()
        log(f"started {component.name}, process {self._running[component.name].pid}")


def _dies_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return prepare


def main() -> int:
    """Run a devcluster in the foreground: `python -m devcluster.supervisor STATE NODES NAME=BINARY...`."""
    state = State(Path(sys.argv[1]))
    nodes = int(sys.argv[2])
    binaries = dict(argument.split("=", 1) for argument in sys.argv[3:])
    state.make()
    lock = StateLock(state)
    if not lock.acquire():
        log("another supervisor has this state")
        return 1
    earlier = Settings.load(state) if state.settings.exists() else None
    block, claim = claim_block(earlier.block if earlier else None)
    settings = new_settings(block, nodes, binaries, earlier)
    make_certificates(state, settings)
    write_kubeconfig(state, settings)
    settings.save(state)
    supervisor = Supervisor(state, settings)
    try:
        # Blocked, not handled: sigtimedwait consumes them, so no handler ever interrupts a start halfway.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM, signal.SIGINT])
        supervisor.start()
        supervisor.run()
    finally:
        supervisor.stop()
        claim.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
