"""Container processes without a cluster: started, signalled, entered, and gone as a whole."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devcluster.kubelet.memory import MemoryWatch
from devcluster.kubelet.process import (
    ContainerProcess,
    LaunchSpec,
    StartError,
    detect_isolation,
    start,
)
from devcluster.kubelet.rootfs import Machine, Mount, plan_root

pytestmark = pytest.mark.process
Scenario = Callable[[LaunchSpec], Coroutine[Any, Any, None]]


@pytest.fixture(params=[True, False], ids=["pid namespace", "no pid namespace"])
def in_container(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario with a spec that has a volume at /data; skipped where nothing can be isolated."""
    volume, staging = tmp_path / "volume", tmp_path / "staging"
    volume.mkdir()
    staging.mkdir()

    async def run(scenario: Scenario) -> None:
        try:
            isolation = await detect_isolation(str(staging))
        except StartError as refused:
            pytest.skip(str(refused))
        if request.param and not isolation.pid_namespace:
            pytest.skip("this machine allows no process namespaces")
        spec = LaunchSpec(
            command=[],
            environment={"PATH": "/usr/bin:/bin", "WHO": "container"},
            steps=plan_root(Machine(is_other_user=False), [], [Mount(str(volume), "/data")]),
            staging=str(staging),
            user_namespace=isolation.user_namespace,
            pid_namespace=request.param,
            hostname="testpod",
        )
        async with asyncio.timeout(20):
            await scenario(spec)

    return lambda scenario: asyncio.run(run(scenario))


async def run_shell(spec: LaunchSpec, script: str) -> ContainerProcess:
    return await start(replace(spec, command=["sh", "-c", script]), 2)


def test_exit_status_and_volume(in_container: Callable[[Scenario], None], tmp_path: Path) -> None:
    async def scenario(spec: LaunchSpec) -> None:
        process = await run_shell(spec, "echo $WHO $(hostname) > /data/said; exit 7")
        assert await process.exited == 7

    in_container(scenario)
    assert (tmp_path / "volume" / "said").read_text() == "container testpod\n"


def test_a_killed_container_takes_its_children_along(in_container: Callable[[Scenario], None]) -> None:
    async def scenario(spec: LaunchSpec) -> None:
        process = await run_shell(spec, "sleep 1001 & sleep 1002 & wait")
        while len(process.tree()) < 3:
            await asyncio.sleep(0.01)
        tree = process.tree()
        process.send(signal.SIGKILL)
        assert await process.exited == 137
        while any(_is_alive(pid) for pid in tree):
            await asyncio.sleep(0.01)

    in_container(scenario)


def test_commands_run_inside_with_its_environment_and_its_files(
    in_container: Callable[[Scenario], None],
) -> None:
    async def scenario(spec: LaunchSpec) -> None:
        process = await run_shell(spec, "echo here > /tmp/own; exec sleep 1000")
        while (await process.run_inside(["test", "-e", "/tmp/own"], 5))[0]:
            await asyncio.sleep(0.01)
        assert await process.run_inside(["sh", "-c", "echo $WHO; cat /tmp/own"], 5) == (0, "container\nhere")
        with pytest.raises(TimeoutError):
            await process.run_inside(["sleep", "100"], 0.2)
        process.send(signal.SIGKILL)
        await process.exited

    in_container(scenario)


def test_a_stopped_container_goes_on_when_continued(
    in_container: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(spec: LaunchSpec) -> None:
        process = await run_shell(spec, "while true; do date +%N > /data/beat; sleep 0.02; done")
        beat = tmp_path / "volume" / "beat"
        while not beat.exists():
            await asyncio.sleep(0.01)
        process.signal_tree(signal.SIGSTOP)
        await asyncio.sleep(0.1)
        seen = beat.read_text()
        await asyncio.sleep(0.2)
        assert beat.read_text() == seen
        process.signal_tree(signal.SIGCONT)
        while beat.read_text() == seen:
            await asyncio.sleep(0.01)
        process.send(signal.SIGKILL)
        await process.exited

    in_container(scenario)


def test_the_machine_is_read_only_inside(in_container: Callable[[Scenario], None]) -> None:
    async def scenario(spec: LaunchSpec) -> None:
        process = await run_shell(spec, "touch /usr/x /etc/x 2>/dev/null")
        assert await process.exited == 1

    in_container(scenario)
    assert not os.path.exists("/etc/x")


def test_a_program_that_does_not_exist_is_named(in_container: Callable[[Scenario], None]) -> None:
    async def scenario(spec: LaunchSpec) -> None:
        with pytest.raises(StartError, match="No such file or directory"):
            await start(replace(spec, command=["no-such-program"]), 2)

    in_container(scenario)


def test_memory_over_the_limit_is_noticed_within_moments(in_container: Callable[[Scenario], None]) -> None:
    async def scenario(spec: LaunchSpec) -> None:
        watch = MemoryWatch()
        running = asyncio.create_task(watch.run())
        script = "import time; time.sleep(0.2); x = bytearray(100 << 20); time.sleep(100)"
        process = await start(replace(spec, command=["python3", "-S", "-c", script]), 2)
        exceeded = asyncio.Event()
        watch.add(process, 50 << 20, lambda _: exceeded.set())
        began = time.monotonic()
        await exceeded.wait()
        assert time.monotonic() - began < 5
        process.send(signal.SIGKILL)
        await process.exited
        running.cancel()

    in_container(scenario)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
