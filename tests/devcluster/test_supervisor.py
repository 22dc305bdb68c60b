"""A devcluster's beginning and end: nothing is started twice, and nothing survives, however it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devcluster.cluster import DevCluster
from devcluster.state import ENVIRONMENT_MARK, State, claim_block, supervisor_pid

SLEEPER: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sleeper"},
    "spec": {"containers": [{"name": "main", "image": "devcluster-tools", "command": ["sleep", "1000"]}]},
}


def processes_of(state: State) -> list[str]:
    """Return the command lines of all processes that belong to a state."""
    mark = f"{ENVIRONMENT_MARK}={state.root}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DevCluster]:
    """A devcluster of the test's own, beside the shared one; not started."""
    cluster = DevCluster(nodes=1, state=tmp_path / "state")
    yield cluster
    cluster.down()


def start_sleeper(cluster: DevCluster) -> None:
    cluster.apply(SLEEPER)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=20s")


def test_two_claims_get_different_blocks_and_a_closed_one_is_free_again() -> None:
    first, first_claim = claim_block()
    second, second_claim = claim_block()
    first_claim.close()
    again, again_claim = claim_block(first)
    second_claim.close()
    again_claim.close()
    assert first != second
    assert again == first


def test_a_state_that_was_never_started_has_no_supervisor(tmp_path: Path) -> None:
    assert supervisor_pid(State(tmp_path)) is None


@pytest.mark.cluster
def test_nothing_is_left_after_down_and_up_does_nothing_twice(own: DevCluster) -> None:
    own.up()
    start_sleeper(own)
    assert any("sleep 1000" in each for each in processes_of(own.state))
    supervisor = supervisor_pid(own.state)
    own.up()
    assert supervisor_pid(own.state) == supervisor
    own.down()
    assert processes_of(own.state) == []
    assert not own.state.root.exists()


@pytest.mark.cluster
def test_nothing_survives_a_killed_supervisor_and_kept_data_comes_back(own: DevCluster) -> None:
    own.up()
    start_sleeper(own)
    supervisor = supervisor_pid(own.state)
    assert supervisor
    os.kill(supervisor, signal.SIGKILL)
    own.wait_until(lambda: not processes_of(own.state), timeout_s=10, message="all processes ended")
    own.up()  # from a state that nobody tidied up
    status = own.wait_until(lambda: own.pod("sleeper")["status"]["containerStatuses"][0])
    own.wait_until(lambda: own.pod("sleeper")["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert status["name"] == "main"
    own.down(keep=True)
    assert processes_of(own.state) == []
    own.up()
    assert own.pod("sleeper")["metadata"]["name"] == "sleeper"


@pytest.mark.cluster
def test_a_dead_component_is_started_again(own: DevCluster) -> None:
    own.up()
    start_sleeper(own)
    kubelet = next(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and f"devcluster.kubelet\0{own.state.root}"
        in (entry / "cmdline").read_bytes().decode(errors="replace")
    )
    os.kill(kubelet, signal.SIGKILL)
    own.wait_until(
        lambda: own.pod("sleeper")["status"]["containerStatuses"][0]["restartCount"] == 1,
        message="the pod runs again under the new kubelet",
    )


@pytest.mark.cluster
def test_two_ups_at_once_start_one_cluster(own: DevCluster) -> None:
    with ThreadPoolExecutor(2) as threads:
        for started in [threads.submit(DevCluster(nodes=1, state=own.state.root).up) for _ in range(2)]:
            started.result()
    supervisors = [each for each in processes_of(own.state) if "devcluster.supervisor" in each]
    assert len(supervisors) == 1
