"""Container processes: started through `launcher.py`, watched by pidfd, signalled, entered and measured.

A container's process is a direct child of the kubelet (the launcher makes it so), the first process of its
own process namespace, and asks for SIGKILL when the kubelet dies: the end of either is the end of the whole
tree. Where process namespaces are not allowed the tree is found through /proc instead. Used by
`container.py`, by exec probes, hooks and `kubectl exec`. It knows no pods.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from devcluster.kubelet.rootfs import Step

LAUNCHER: Final = str(Path(__file__).with_name("launcher.py"))
REPORT_BYTES_MAX: Final = 4096
EXEC_OUTPUT_BYTES_MAX: Final = 10 << 10  # of a probe's output; the kubelet keeps as much


class StartError(Exception):
    """The container's program could not be started."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this machine lets us do."""

    user_namespace: bool  # we are not root: namespaces only inside one of our own
    pid_namespace: bool


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything the launcher needs; its field names are the launcher's keys."""

    command: list[str]
    environment: dict[str, str]
    steps: list[Step]
    staging: str
    user_namespace: bool
    pid_namespace: bool
    uid: int = 0
    gid: int = 0
    groups: list[int] = field(default_factory=list)
    hostname: str = ""
    working_directory: str = "/"
    read_only: bool = False
    no_new_privileges: bool = False


class ContainerProcess:
    """A running (or ended) container."""

    def __init__(self, pid: int, spec: LaunchSpec) -> None:
        self.pid: Final = pid
        self.spec: Final = spec
        self.exited: Final[asyncio.Future[int]] = asyncio.get_running_loop().create_future()
        self._watch = asyncio.ensure_future(self._await_end())

    @property
    def is_running(self) -> bool:
        return not self.exited.done()

    def send(self, number: signal.Signals) -> None:
        """Signal the first process; SIGKILL takes all the others with it."""
        if not self.is_running:
            return
        targets = [self.pid]
        if number == signal.SIGKILL and not self.spec.pid_namespace:
            targets = self.tree()
        _signal_all(targets, number)

    def signal_tree(self, number: signal.Signals) -> None:
        """Signal every process of the container: SIGSTOP and SIGCONT."""
        if self.is_running:
            _signal_all(self.tree(), number)

    def tree(self) -> list[int]:
        """Return the process ids of the container, the first process first."""
        found = [self.pid]
        for pid in found:
            found.extend(children_of(pid))
        return found

    def entering(self, command: list[str]) -> list[str]:
        """Return what runs `command` inside the container, as its user, in its working directory."""
        prefix = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i"]
        if self.spec.pid_namespace:
            prefix.append("-p")
        if self.spec.user_namespace:
            return [*prefix, "-U", "--preserve-credentials", "-r", "-w", "--", *command]
        # setpriv, because nsenter would drop the supplementary groups and so the volumes of an fsGroup.
        groups = f"--groups={','.join(map(str, self.spec.groups))}" if self.spec.groups else "--clear-groups"
        user = ["setpriv", f"--reuid={self.spec.uid}", f"--regid={self.spec.gid}", groups]
        return [*prefix, "-r", "-w", "--", *user, "--", *command]

    async def run_inside(self, command: list[str], timeout_s: float) -> tuple[int, str]:
        """Run a command inside; return its exit status and the beginning of its output, or TimeoutError."""
        process = await asyncio.create_subprocess_exec(
            *self.entering(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.spec.environment,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout_s):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # nsenter and what it forked
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output[:EXEC_OUTPUT_BYTES_MAX].decode(errors="replace").strip()

    async def _await_end(self) -> None:
        status = await wait_for_child(self.pid)
        if not self.spec.pid_namespace:
            try:
                os.killpg(self.pid, signal.SIGKILL)  # what the program left running
            except ProcessLookupError:
                pass
        self.exited.set_result(status)


async def start(spec: LaunchSpec, log: int) -> ContainerProcess:
    """Start a container whose output goes to the descriptor `log`; StartError says why it did not run."""
    specification = os.memfd_create("devcluster-launch")
    reading, writing = os.pipe()
    try:
        with os.fdopen(os.dup(specification), "wb") as file:
            file.write(json.dumps(asdict(spec)).encode())
        os.lseek(specification, 0, os.SEEK_SET)
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", LAUNCHER, str(writing)],
            stdin=specification,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            start_new_session=True,
        )
    finally:
        os.close(specification)
        os.close(writing)
    report = await _read_to_end(reading)
    launcher.returncode = await wait_for_child(launcher.pid)
    first, _, rest = report.decode(errors="replace").partition("\n")
    if not first.startswith("pid "):
        raise StartError(first.removeprefix("error ") or f"the launcher ended with {launcher.returncode}")
    process = ContainerProcess(int(first.removeprefix("pid ")), spec)
    if rest:
        await process.exited
        raise StartError(rest.removeprefix("error "))
    return process


async def detect_isolation(staging: str) -> Isolation:
    """Try what the machine allows; StartError with the reasons if a container cannot be isolated at all."""
    is_root = os.geteuid() == 0
    refusals = []
    for user_namespace, pid_namespace in [
        (not is_root, True),
        (not is_root, False),
        (True, True),
        (True, False),
    ]:
        steps: list[Step] = [["directory", "/usr", 0o755], ["bind", "/usr", "/usr", True]]
        for name in ("bin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                steps.append(["link", f"/{name}", os.readlink(f"/{name}")])
            elif os.path.isdir(f"/{name}"):
                steps += [["directory", f"/{name}", 0o755], ["bind", f"/{name}", f"/{name}", True]]
        spec = LaunchSpec(
            command=["true"],
            environment={"PATH": "/usr/bin:/bin"},
            steps=steps,
            staging=staging,
            user_namespace=user_namespace,
            pid_namespace=pid_namespace,
            uid=os.getuid(),
            gid=os.getgid(),
        )
        try:
            process = await start(spec, 2)
            if await process.exited == 0:
                return Isolation(user_namespace, pid_namespace)
            refusals.append("the program of the trial did not run")
        except StartError as refused:
            refusals.append(str(refused))
    raise StartError(
        f"this machine allows no mount namespaces, as root or rootless: {'; '.join(dict.fromkeys(refusals))}"
    )


async def wait_for_child(pid: int) -> int:
    """Wait for a child of ours; return its exit status as a container reports it (128 + signal)."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children; none if it has ended."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(each) for each in file.read().split()]
    except OSError:
        return []


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


async def _read_to_end(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = bytearray()
    ended = asyncio.Event()

    def readable() -> None:
        chunk = os.read(descriptor, REPORT_BYTES_MAX)
        received.extend(chunk)
        if not chunk or len(received) > REPORT_BYTES_MAX:
            ended.set()

    loop.add_reader(descriptor, readable)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return bytes(received)
