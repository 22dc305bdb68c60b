"""`DevCluster`: one devcluster as an object, for tests, benchmarks, the demo and the command line.

    with DevCluster(nodes=4, state=directory) as cluster:
        cluster.apply(manifest)
        cluster.kubectl("wait", "--for=condition=Ready", "pod/a")
        cluster.faults.kill("a")

It starts and stops the supervisor, runs kubectl, and asks the kubelet over a loopback HTTP port that only
the owner of the state directory knows the token of. It keeps nothing in memory that another process needs:
any number of objects may name the same state, and the one that called `up` need not be the one that calls
`down`. Every method blocks; `async with` and `asyncio.to_thread` serve callers with an event loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

from devcluster import toolchain
from devcluster.faults import DevclusterFaults
from devcluster.kubelet.process import StartError, detect_isolation
from devcluster.progress import Progress
from devcluster.state import ENVIRONMENT_MARK, Settings, State, supervisor_pid

UP_TIMEOUT_S: Final = 120
DOWN_TIMEOUT_S: Final = 15
NEEDED_COMMANDS: Final = ("nsenter", "setpriv", "setsid", "openssl")
REPOSITORY: Final = Path(__file__).resolve().parent.parent


class DevCluster:
    """One devcluster, running or not, identified by its state directory."""

    def __init__(self, nodes: int = 4, state: str | Path | None = None) -> None:
        self.state: Final = State.at(state)
        self._nodes = nodes
        self.faults: Final = DevclusterFaults(self)

    @property
    def kubeconfig(self) -> Path:
        return self.state.kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment with KUBECONFIG, and our kubectl first on PATH."""
        programs = Path(self.settings.binaries["kubectl"]).parent
        return os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{programs}:{os.environ.get('PATH', '')}",
        }

    @property
    def settings(self) -> Settings:
        return Settings.load(self.state)

    @property
    def is_running(self) -> bool:
        return supervisor_pid(self.state) is not None

    def up(self) -> Self:
        """Start the cluster unless it runs, and return when its nodes are Ready."""
        if not self.is_running:
            self._require_isolation()
            binaries = toolchain.binaries()
            with self.state.being_started():
                if not self.is_running:
                    self._sweep()
                    self._start_supervisor(binaries)
        step = Progress("starting the cluster")
        try:
            self._wait(self._is_up, UP_TIMEOUT_S, step.update)
        except TimeoutError:
            raise RuntimeError(f"the cluster did not come up; {self._last_words()}") from None
        running = self.settings.nodes
        step.done(f"{running} nodes ready")
        return self

    def down(self, keep: bool = False) -> None:
        """Stop everything, at once and whatever state it is in; `keep` leaves the data for the next `up`."""
        if pid := supervisor_pid(self.state):
            self._signal(pid, signal.SIGTERM)
            deadline = time.monotonic() + DOWN_TIMEOUT_S
            while supervisor_pid(self.state) == pid and time.monotonic() < deadline:
                time.sleep(0.02)
            if supervisor_pid(self.state) == pid:
                self._signal(pid, signal.SIGKILL)
        self._sweep()
        self.faults.remove_filter()
        if not keep:
            self.state.remove()

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.down()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.up)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.down)

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True, timeout_s: float = 120
    ) -> str:
        """Run kubectl as administrator and return its output; RuntimeError with its message if it fails."""
        done = self.try_kubectl(*arguments, input=input, timeout_s=timeout_s)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def try_kubectl(
        self, *arguments: str, input: str | None = None, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return whatever came of it."""
        command = [self.settings.binaries["kubectl"], f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout_s)

    def apply(self, manifest: str | dict[str, Any] | Path, namespace: str = "default") -> str:
        """Apply a manifest: YAML text, one object, or a file or directory of them."""
        if isinstance(manifest, Path):
            return self.kubectl("apply", "-n", namespace, "-f", str(manifest))
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.kubectl("apply", "-n", namespace, "-f", "-", input=text)

    def get(self, resource: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """Return one object as the API server shows it."""
        parsed: dict[str, Any] = json.loads(
            self.kubectl("get", resource, name, "-n", namespace, "-o", "json")
        )
        return parsed

    def list(self, resource: str, namespace: str = "default", selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind in a namespace, by name."""
        arguments = ["get", resource, "-n", namespace, "-o", "json", *(["-l", selector] if selector else [])]
        items: list[dict[str, Any]] = json.loads(self.kubectl(*arguments))["items"]
        return items

    def pod(self, name: str, namespace: str = "default") -> dict[str, Any]:
        return self.get("pod", name, namespace)

    def wait_until(
        self, condition: Callable[[], Any], timeout_s: float = 30, message: str = "", interval_s: float = 0.05
    ) -> Any:
        """Return the first true value of `condition`; TimeoutError with the message and the last value."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{message or 'condition'} not met within {timeout_s} s; last seen: {value!r}"
                )
            time.sleep(interval_s)
        return value

    def ask_kubelet(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the kubelet's control port; RuntimeError with its answer if it refuses."""
        settings = self.settings
        request = urllib.request.Request(
            f"http://{settings.control_plane_address}:{settings.control_port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {settings.admin_token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                parsed: dict[str, Any] = json.loads(answer.read())
                return parsed
        except urllib.error.HTTPError as refused:
            raise RuntimeError(refused.read().decode(errors="replace")) from None

    def _require_isolation(self) -> None:
        """Say what is missing before anything is built or started."""
        missing = [name for name in NEEDED_COMMANDS if not shutil.which(name)]
        if missing:
            raise RuntimeError(f"devcluster needs the commands {', '.join(missing)} (util-linux, openssl)")
        # In a thread of its own, because the caller may have an event loop.
        with tempfile.TemporaryDirectory() as staging, ThreadPoolExecutor(1) as thread:
            try:
                thread.submit(asyncio.run, detect_isolation(staging)).result()
            except StartError as refused:
                raise RuntimeError(str(refused)) from None

    def _start_supervisor(self, binaries: dict[str, str]) -> None:
        self.state.make()
        command = [sys.executable, "-m", "devcluster.supervisor", str(self.state.root), str(self._nodes)]
        command += [f"{name}={path}" for name, path in binaries.items()]
        with open(self.state.logs / "supervisor.log", "ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
                start_new_session=True,
                env=os.environ | {ENVIRONMENT_MARK: str(self.state.root)},
            )
        self._wait(lambda: self.is_running or process.poll() is not None, 20, lambda _: None)
        if process.poll() is not None:
            raise RuntimeError(f"the supervisor ended with {process.returncode}; {self._last_words()}")

    def _is_up(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"the supervisor has ended; {self._last_words()}")
        try:
            settings = self.settings
            nodes = self._read_api("/api/v1/nodes")["items"]
            self._read_api("/api/v1/namespaces/default/serviceaccounts/default")
        except (OSError, ValueError):  # not started, not ready, not yet made
            return False
        ready = [node for node in nodes if _is_node_ready(node)]
        return len(ready) >= settings.nodes

    def _read_api(self, path: str) -> dict[str, Any]:
        settings = self.settings
        request = urllib.request.Request(settings.api_url + path)
        request.add_header("Authorization", f"Bearer {settings.admin_token}")
        context = ssl.create_default_context(cafile=str(self.state.pki / "ca.crt"))
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            parsed: dict[str, Any] = json.loads(answer.read())
            return parsed

    def _wait(self, condition: Callable[[], bool], timeout_s: float, tell: Callable[[str], None]) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError
            tell("waiting for API server and nodes")
            time.sleep(0.05)

    def _last_words(self) -> str:
        path = self.state.logs / "supervisor.log"
        lines = path.read_text(errors="replace").splitlines()[-5:] if path.exists() else []
        return f"end of {path}:\n" + "\n".join(lines)

    def _sweep(self) -> None:
        """Kill every process that carries the mark of this state: what a half-dead cluster left behind."""
        mark = f"{ENVIRONMENT_MARK}={self.state.root}".encode()
        deadline = time.monotonic() + DOWN_TIMEOUT_S
        while time.monotonic() < deadline:
            found = [pid for pid in _process_ids() if pid != os.getpid() and mark in _environment_of(pid)]
            if not found:
                return
            for pid in found:
                self._signal(pid, signal.SIGKILL)
            time.sleep(0.02)

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _is_node_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not any(taint["effect"] == "NoSchedule" for taint in node["spec"].get("taints", []))


def _process_ids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
