"""One container of a pod through all its restarts: pull, start, probe, end, wait, again.

`run` is the whole life; it returns when the container will not be started again. What others do to it
meanwhile (`stop`, a failed liveness probe, a changed image, a fault) acts on the process, whose end `run`
then sees: there is one place where an end is interpreted. Every change of state is told to the pod, which
reports it. Called by `pod.py`. Sources: "Pod Lifecycle" and "Container Lifecycle Hooks" in the Kubernetes
documentation.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any, Final, Protocol

from devcluster.kubelet.api import Object
from devcluster.kubelet.backoff import Backoff
from devcluster.kubelet.context import Context
from devcluster.kubelet.environment import quantity_value
from devcluster.kubelet.images import Image, ImageMissing, find_image
from devcluster.kubelet.launch import ConfigError, launch_spec
from devcluster.kubelet.probe import ProbeSpec
from devcluster.kubelet.probe_runner import ProbeTarget, attempt, run_probe
from devcluster.kubelet.process import ContainerProcess, StartError, start
from devcluster.kubelet.status import ContainerFacts
from devcluster.kubelet.timestamps import now_text
from devcluster.kubelet.volumes import PodVolumes

LOG: Final = logging.getLogger("devcluster.container")
CONFIG_RETRY_S: Final = 2.0
PULL_ERROR_SHOWN_S: Final = 1.0  # ErrImagePull is visible for a moment before it becomes ImagePullBackOff
START_FAILED: Final = 128
HOOK_TIMEOUT_S: Final = 600.0  # a hook is bounded by the grace period; this bounds a forgotten one
TERMINATION_MESSAGE_BYTES: Final = 2048
LOG_BYTES_MAX: Final = 64 << 20  # looked at once a minute; a kubelet would rotate at 10 MiB


class Owner(Protocol):
    """What a container needs of its pod."""

    context: Context
    pod: Object
    pod_ip: str
    host_ip: str
    volumes: PodVolumes

    def changed(self) -> None: ...

    @property
    def is_stopping(self) -> bool: ...

    @property
    def grace_s(self) -> float: ...


class Container:
    """One container; `facts` is what is reported of it."""

    def __init__(self, owner: Owner, name: str, is_init: bool, earlier: Object | None) -> None:
        self._owner = owner
        self.name: Final = name
        self._is_init = is_init
        self.facts: Final = _facts_after(
            self._spec(name), is_init or bool(owner.pod["spec"].get("initContainers")), earlier
        )
        self.process: ContainerProcess | None = None
        self._image_running = ""
        self._backoff = Backoff()
        self._pull_backoff = Backoff(at_once_first=False)
        self._nudged = asyncio.Event()
        self._is_out_of_memory = False
        self._ran_before = bool(self.facts.last_state)

    async def run(self) -> None:
        """Run until the container has ended for good or is stopped."""
        while not self._owner.is_stopping:
            spec = self._spec(self.name)
            image = await self._pull(spec)
            if image is None:
                continue
            began = time.monotonic()
            code = await self._run_once(spec, image)
            if self._owner.is_stopping or (code is not None and not self._is_restarted(code)):
                return
            if code is not None:
                await self._back_off(time.monotonic() - began)

    def log_path(self, restart: int) -> Path:
        return self._owner.context.pod_directory(self._owner.pod) / "logs" / self.name / f"{restart}.log"

    def bound_log(self) -> None:
        """Empty a log that has grown too large; the program, which appends, goes on at its start."""
        path = self.log_path(self.facts.restart_count)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            os.truncate(path, 0)

    def nudge(self) -> None:
        """Look again: the spec changed, or something it refers to."""
        self._nudged.set()
        image = self._spec(self.name)["image"]
        if self.process and self.process.is_running and image != self._image_running:
            self._backoff = Backoff()
            self._restart(f"Container {self.name} definition changed, will be restarted")

    async def stop(self) -> None:
        """Run the preStop hook and ask the process to end; the pod's deadline ends one that does not."""
        self._nudged.set()
        if self.process and self.process.is_running:
            self._event("Killing", f"Stopping container {self.name}")
            await self._terminate(self.process)

    def kill(self) -> None:
        if self.process:
            self.process.send(signal.SIGKILL)

    async def _pull(self, spec: Object) -> Image | None:
        """Return the image, or None after a wait for another try."""
        try:
            image = find_image(spec["image"])
        except ImageMissing as missing:
            self._wait_state("ErrImagePull", str(missing))
            self._event("Failed", f'Failed to pull image "{spec["image"]}": {missing}', is_warning=True)
            await self._pause(PULL_ERROR_SHOWN_S)
            self._wait_state("ImagePullBackOff", f'Back-off pulling image "{spec["image"]}": {missing}')
            self._event("BackOff", f'Back-off pulling image "{spec["image"]}"', is_warning=True)
            await self._pause(self._pull_backoff.failed(0.0) - PULL_ERROR_SHOWN_S)
            return None
        self._pull_backoff = Backoff(at_once_first=False)
        return image

    async def _run_once(self, spec: Object, image: Image) -> int | None:
        """Start, wait for the end and record it; return the exit code, None if nothing could be started."""
        owner = self._owner
        try:
            mounts = owner.volumes.mounts(spec)
            specification = launch_spec(
                owner.context, owner.pod, spec, image, mounts, owner.pod_ip, owner.host_ip
            )
        except ConfigError as wrong:
            self._wait_state("CreateContainerConfigError", str(wrong))
            self._event("Failed", f"Error: {wrong}", is_warning=True)
            await self._pause(CONFIG_RETRY_S)
            return None
        if self._ran_before:
            self.facts.restart_count += 1
        self._ran_before = True
        self._image_running = spec["image"]
        self.facts.image, self.facts.image_id = spec["image"], image.identity
        self.facts.container_id = f"devcluster://{uuid.uuid4().hex}"
        self._is_out_of_memory = False
        self._event("Pulled", f'Container image "{spec["image"]}" already present on machine')
        started_at = now_text()
        log = self._open_log()
        try:
            self.process = await start(specification, log)
        except StartError as failed:
            message = f"failed to start {' '.join(specification.command)[:200]}: {failed}"
            self._event("Failed", f"Error: {message}", is_warning=True)
            self._ended(spec, START_FAILED, started_at, "StartError", message)
            return START_FAILED
        finally:
            os.close(log)
        if owner.is_stopping:  # asked while the launcher worked: it has done nothing yet
            self.kill()
        self._event("Started", f"Container {self.name} started")
        probes = self._started(spec, self.process, started_at)
        try:
            code = await asyncio.shield(self.process.exited)
        finally:
            for probe in probes:
                probe.cancel()
        reason = "OOMKilled" if self._is_out_of_memory else "Completed" if code == 0 else "Error"
        self._ended(spec, code, started_at, reason, "")
        return code

    def _started(self, spec: Object, process: ContainerProcess, started_at: str) -> list[asyncio.Task[None]]:
        self.facts.state = {"running": {"startedAt": started_at}}
        self.facts.is_started = "startupProbe" not in spec
        self.facts.is_ready = self.facts.is_started and "readinessProbe" not in spec
        self._owner.changed()
        if limit := ((spec.get("resources") or {}).get("limits") or {}).get("memory"):
            self._owner.context.memory.add(process, int(quantity_value(limit)), self._out_of_memory)
        tasks: list[asyncio.Task[None]] = []
        target = self._target(process)
        if hook := (spec.get("lifecycle") or {}).get("postStart"):
            tasks.append(asyncio.create_task(self._post_start(hook, target)))
        if self.facts.is_started:
            tasks += self._probe_serving(spec, target)
        else:
            startup = ProbeSpec.of("startup", spec["startupProbe"])

            def decided(is_up: bool) -> None:
                if is_up:
                    self.facts.is_started = True
                    self.facts.is_ready = "readinessProbe" not in spec
                    self._owner.changed()
                    tasks.extend(self._probe_serving(spec, target))
                else:
                    self._restart(f"Container {self.name} failed startup probe, will be restarted", startup)

            tasks.append(self._probe(startup, target, decided))
        return tasks

    def _probe_serving(self, spec: Object, target: ProbeTarget) -> list[asyncio.Task[None]]:
        tasks = []
        if "readinessProbe" in spec:

            def readiness(is_ready: bool) -> None:
                self.facts.is_ready = is_ready
                self._owner.changed()

            tasks.append(self._probe(ProbeSpec.of("readiness", spec["readinessProbe"]), target, readiness))
        if "livenessProbe" in spec:
            liveness = ProbeSpec.of("liveness", spec["livenessProbe"])

            def alive(is_alive: bool) -> None:
                if not is_alive:
                    self._restart(f"Container {self.name} failed liveness probe, will be restarted", liveness)

            tasks.append(self._probe(liveness, target, alive))
        return tasks

    def _probe(self, probe: ProbeSpec, target: ProbeTarget, decided: Any) -> asyncio.Task[None]:
        def failed(why: str) -> None:
            self._event("Unhealthy", f"{probe.kind.capitalize()} probe failed: {why}", is_warning=True)

        return asyncio.create_task(run_probe(probe, target, decided, failed))

    def _ended(self, spec: Object, code: int, started_at: str, reason: str, message: str) -> None:
        self.facts.is_ready = self.facts.is_started = False
        ended: Object = {
            "exitCode": code,
            "reason": reason,
            "startedAt": started_at,
            "finishedAt": now_text(),
            "containerID": self.facts.container_id,
        }
        if code and not message and spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = self.log_path(self.facts.restart_count).read_text(errors="replace")[
                -TERMINATION_MESSAGE_BYTES:
            ]
        if message:
            ended["message"] = message
        self.facts.state = {"terminated": ended}
        self._owner.changed()

    async def _back_off(self, ran_s: float) -> None:
        """Wait as long as a container that ended has to wait."""
        delay_s = self._backoff.failed(ran_s)
        ended = self.facts.state
        if delay_s:
            pod = self._owner.pod["metadata"]
            named = f"{self.name} pod={pod['name']}_{pod['namespace']}({pod['uid']})"
            self._wait_state(
                "CrashLoopBackOff", f"back-off {delay_s:.0f}s restarting failed container={named}"
            )
            self._event("BackOff", f"Back-off restarting failed container {named}", is_warning=True)
            self.facts.last_state = ended
            await self._pause(delay_s)
        self.facts.last_state = ended

    def _is_restarted(self, code: int) -> bool:
        policy = self._owner.pod["spec"].get("restartPolicy", "Always")
        if policy == "Always" and not self._is_init:
            return True
        return policy != "Never" and code != 0

    def _out_of_memory(self, used_bytes: int) -> None:
        LOG.info("%s is out of memory with %d MiB", self.name, used_bytes >> 20)
        self._is_out_of_memory = True
        self.kill()

    def _restart(self, why: str, probe: ProbeSpec | None = None) -> None:
        """End the process, for `run` to start it again."""
        if self._owner.is_stopping or self.process is None or not self.process.is_running:
            return
        self._event("Killing", why)
        grace_s = self._owner.grace_s
        if probe and probe.handler.get("terminationGracePeriodSeconds"):
            grace_s = probe.handler["terminationGracePeriodSeconds"]
        process = self.process
        asyncio.get_running_loop().call_later(grace_s, process.send, signal.SIGKILL)
        self._termination = asyncio.create_task(self._terminate(process))

    async def _terminate(self, process: ContainerProcess) -> None:
        hook = (self._spec(self.name).get("lifecycle") or {}).get("preStop")
        if hook:
            running = asyncio.create_task(self._hook(hook, self._target(process)))
            waiting: list[asyncio.Future[Any]] = [running, process.exited]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if running.done() and (why := running.result()):
                self._event("FailedPreStopHook", f"PreStopHook failed: {why}", is_warning=True)
            running.cancel()
        process.send(signal.SIGTERM)
        await asyncio.shield(process.exited)

    async def _post_start(self, hook: Object, target: ProbeTarget) -> None:
        if why := await self._hook(hook, target):
            self._event("FailedPostStartHook", f"PostStartHook failed: {why}", is_warning=True)
            self._restart(f"FailedPostStartHook of container {self.name}")

    async def _hook(self, hook: Object, target: ProbeTarget) -> str | None:
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
            return None
        return await attempt(hook, target, HOOK_TIMEOUT_S)

    def _target(self, process: ContainerProcess) -> ProbeTarget:
        ports = self._spec(self.name).get("ports") or []
        named = {each["name"]: each["containerPort"] for each in ports if each.get("name")}
        return ProbeTarget(process, self._owner.pod_ip, self._owner.host_ip, named)

    def _wait_state(self, reason: str, message: str) -> None:
        self.facts.state = {"waiting": {"reason": reason, "message": message}}
        self._owner.changed()

    async def _pause(self, seconds: float) -> None:
        """Wait, unless nudged."""
        self._nudged.clear()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._nudged.wait()
        except TimeoutError:
            pass

    def _open_log(self) -> int:
        path = self.log_path(self.facts.restart_count)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path(self.facts.restart_count - 2).unlink(missing_ok=True)
        return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _event(self, reason: str, message: str, is_warning: bool = False) -> None:
        self._owner.context.events.record(self._owner.pod, reason, message, is_warning)

    def _spec(self, name: str) -> Object:
        kind = "initContainers" if self._is_init else "containers"
        found: Object = next(each for each in self._owner.pod["spec"][kind] if each["name"] == name)
        return found


def _facts_after(spec: Object, waits_for_init: bool, earlier: Object | None) -> ContainerFacts:
    """Return the facts to begin with; `earlier` is what an earlier kubelet reported of the container."""
    facts = ContainerFacts(spec["name"], spec["image"])
    if waits_for_init:
        facts.state = {"waiting": {"reason": "PodInitializing"}}
    if not earlier:
        return facts
    facts.restart_count = earlier.get("restartCount", 0)
    facts.last_state = earlier.get("lastState") or {}
    state = earlier.get("state") or {}
    if "terminated" in state:
        facts.last_state = state
    elif "running" in state:
        # What became of it nobody saw; this is how a kubelet reports a container that a reboot took.
        facts.last_state = {
            "terminated": {
                "exitCode": 255,
                "reason": "Unknown",
                "startedAt": state["running"].get("startedAt"),
                "finishedAt": now_text(),
                "containerID": earlier.get("containerID", ""),
            }
        }
    return facts
