"""Where a devcluster keeps what it owns: one directory of files, and one block of loopback addresses.

Several devclusters run side by side, so nothing has a fixed place: each has its state directory (binaries
excepted, which the cache shares), and each claims block k of 64: pods and control plane in
127.(10+k).0.0/16, Services in 127.(96+k).0.0/16. The claim is a listening socket that the supervisor holds;
the kernel drops it with the process, so there is no lock file to clean up, and no two users of a machine
collide. Used by every other module; starts nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

BLOCKS: Final = 64
CLAIM_PORT: Final = 10249  # outside the range of ephemeral ports; only its being taken matters
ENVIRONMENT_MARK: Final = (
    "REDOUBT_DEVCLUSTER_STATE"  # every process of a devcluster carries it, so `down` finds all
)


def cache_directory() -> Path:
    """Return the directory for what is expensive to make again: binaries and the default state."""
    if chosen := os.environ.get("REDOUBT_CACHE"):
        return Path(chosen).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base).resolve() / "redoubt"


@dataclass(frozen=True, slots=True)
class State:
    """The state directory of one devcluster, as paths."""

    root: Path

    @classmethod
    def at(cls, root: str | Path | None) -> State:
        """Return the state at `root`, else at $REDOUBT_DEVCLUSTER, else the default in the cache."""
        chosen = root or os.environ.get("REDOUBT_DEVCLUSTER") or cache_directory() / "devcluster"
        return cls(Path(chosen).resolve())

    @property
    def settings(self) -> Path:
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def etcd(self) -> Path:
        return self.root / "etcd"

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def lock(self) -> Path:
        return self.root / "supervisor.lock"

    def make(self) -> None:
        """Create the directories that processes write into."""
        for directory in (self.root, self.pki, self.logs, self.pods, self.volumes):
            directory.mkdir(parents=True, exist_ok=True)
        # Pods run as other users: they must reach their volumes below, but see no keys.
        for private in (self.pki, self.logs):
            private.chmod(0o700)

    @contextmanager
    def being_started(self) -> Iterator[None]:
        """Let one process at a time find out whether a supervisor runs, and start it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / "up.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def remove(self) -> None:
        """Remove what a devcluster keeps, and the directory itself unless something else lies in it."""
        for directory in (self.pki, self.logs, self.etcd, self.pods, self.volumes, self.root / "staging"):
            shutil.rmtree(directory, ignore_errors=True)
        for file in (self.settings, self.kubeconfig, self.lock, self.root / "up.lock"):
            file.unlink(missing_ok=True)
        if self.root.exists() and not any(self.root.iterdir()):
            self.root.rmdir()


@dataclass(frozen=True, slots=True)
class Settings:
    """What a devcluster decided at its start; written to `cluster.json`, readable by its owner only."""

    block: int
    nodes: int
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    kubelet_port: int
    control_port: int
    admin_token: str
    binaries: dict[str, str]

    @property
    def pod_prefix(self) -> str:
        return f"127.{10 + self.block}"

    @property
    def service_range(self) -> str:
        return f"127.{96 + self.block}.0.0/16"

    @property
    def kubernetes_address(self) -> str:
        """The cluster address of the Service `kubernetes`, the first of the range."""
        return f"127.{96 + self.block}.0.1"

    @property
    def control_plane_address(self) -> str:
        return f"{self.pod_prefix}.255.1"

    @property
    def api_url(self) -> str:
        return f"https://{self.control_plane_address}:{self.api_port}"

    def node_name(self, index: int) -> str:
        return f"node-{index + 1}"

    def node_address(self, index: int) -> str:
        return f"{self.pod_prefix}.255.{11 + index}"

    def save(self, state: State) -> None:
        """Write the settings at once or not at all."""
        draft = state.root / ".cluster.json"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.rename(state.settings)

    @classmethod
    def load(cls, state: State) -> Settings:
        """Read the settings; FileNotFoundError when no devcluster was started in this state."""
        return cls(**json.loads(state.settings.read_text()))


def claim_block(preferred: int | None = None) -> tuple[int, socket.socket]:
    """Claim the first free block of addresses; the claim lasts as long as the returned socket is open."""
    order = list(range(BLOCKS)) if preferred is None else [preferred, *range(BLOCKS)]
    for block in order:
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind((f"127.{10 + block}.255.254", CLAIM_PORT))
            claim.listen(1)
            return block, claim
        except OSError as refused:
            claim.close()
            if refused.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise
    raise RuntimeError(f"all {BLOCKS} address blocks are claimed by running devclusters")


def free_port(address: str, preferred: int) -> int:
    """Return `preferred` if it is free on `address`, else any free port: somebody may listen on 0.0.0.0."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                return int(probe.getsockname()[1])
            except OSError:
                continue
    raise RuntimeError(f"no free port on {address}")


def new_settings(block: int, nodes: int, binaries: dict[str, str], earlier: Settings | None) -> Settings:
    """Choose ports and a token for a start; `earlier` keeps the token, so an old kubeconfig stays valid."""
    control_plane = f"127.{10 + block}.255.1"
    return Settings(
        block=block,
        nodes=nodes,
        api_port=free_port(control_plane, 6443),
        etcd_port=free_port(control_plane, 2379),
        etcd_peer_port=free_port(control_plane, 2380),
        kubelet_port=free_port(f"127.{10 + block}.255.11", 10250),
        control_port=free_port(control_plane, 10255),
        admin_token=earlier.admin_token if earlier else secrets.token_urlsafe(32),
        binaries=binaries,
    )


class StateLock:
    """The supervisor's hold on its state directory; the kernel releases it however the process ends."""

    def __init__(self, state: State) -> None:
        self._file = open(state.lock, "a+")  # noqa: SIM115  held for the life of the process

    def acquire(self) -> bool:
        """Take the lock and write our process id into it; False if another supervisor has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()
        return True


def supervisor_pid(state: State) -> int | None:
    """Return the process id of the running supervisor, or None."""
    try:
        with open(state.lock) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
            return None
    except FileNotFoundError:
        return None
