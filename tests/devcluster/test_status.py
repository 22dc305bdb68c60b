"""Phase and conditions of a pod from the states of its containers."""

from typing import Any

import pytest

from devcluster.kubelet.status import ContainerFacts, PodFacts, pod_status

NOW = "2026-01-01T00:00:10Z"
BEFORE = "2026-01-01T00:00:00Z"
CREATING = {"waiting": {"reason": "ContainerCreating"}}
CRASHED = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNNING = {"running": {"startedAt": BEFORE}}
SUCCEEDED = {"terminated": {"exitCode": 0}}
FAILED = {"terminated": {"exitCode": 1}}


def status_of(
    *states: dict[str, Any],
    policy: str = "Always",
    init: tuple[dict[str, Any], ...] = (),
    ended: bool = False,
) -> dict[str, Any]:
    def facts(name: str, state: dict[str, Any]) -> ContainerFacts:
        is_running = "running" in state
        last = FAILED if state is CRASHED else {}
        return ContainerFacts(name, "i", state, last, is_started=is_running, is_ready=is_running)

    pod = {"metadata": {"generation": 1}, "spec": {"restartPolicy": policy, "containers": []}}
    containers = [facts(f"c{index}", state) for index, state in enumerate(states)]
    init_containers = [facts(f"i{index}", state) for index, state in enumerate(init)]
    return pod_status(
        pod, PodFacts(init_containers, containers, "127.10.1.2", "127.10.255.11", BEFORE, ended), NOW
    )


@pytest.mark.parametrize(
    ("states", "policy", "ended", "phase"),
    [
        ([CREATING], "Always", False, "Pending"),
        ([RUNNING, CREATING], "Always", False, "Pending"),
        ([RUNNING], "Always", False, "Running"),
        ([RUNNING, CRASHED], "Always", False, "Running"),
        ([CRASHED], "Always", False, "Running"),
        ([FAILED], "Always", False, "Running"),
        ([SUCCEEDED], "Always", False, "Running"),
        ([SUCCEEDED], "Never", False, "Succeeded"),
        ([SUCCEEDED, FAILED], "Never", False, "Failed"),
        ([SUCCEEDED, RUNNING], "Never", False, "Running"),
        ([FAILED], "OnFailure", False, "Running"),
        ([SUCCEEDED], "OnFailure", False, "Succeeded"),
        ([SUCCEEDED], "Always", True, "Succeeded"),
        ([FAILED, SUCCEEDED], "Always", True, "Failed"),
        ([CREATING], "Always", True, "Failed"),
    ],
)
def test_phase_follows_the_containers(states: list[Any], policy: str, ended: bool, phase: str) -> None:
    assert status_of(*states, policy=policy, ended=ended)["phase"] == phase


@pytest.mark.parametrize(
    ("init", "policy", "phase"),
    [
        ((RUNNING,), "Always", "Pending"),
        ((SUCCEEDED, CREATING), "Always", "Pending"),
        ((FAILED,), "Always", "Pending"),
        ((FAILED,), "Never", "Failed"),
    ],
)
def test_a_pod_is_pending_until_its_init_containers_succeeded(
    init: tuple[Any, ...], policy: str, phase: str
) -> None:
    assert status_of(CREATING, policy=policy, init=init)["phase"] == phase


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status["conditions"]}


def test_a_running_ready_pod_is_ready() -> None:
    assert conditions(status_of(RUNNING)) == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "ContainersReady": "True",
        "Ready": "True",
    }


def test_an_unready_container_is_named() -> None:
    ready = status_of(RUNNING, CRASHED)["conditions"][-1]
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [c1]"


def test_a_closed_readiness_gate_keeps_the_pod_unready() -> None:
    pod: dict[str, Any] = {
        "metadata": {},
        "spec": {"containers": [], "readinessGates": [{"conditionType": "example.com/gate"}]},
    }
    container = ContainerFacts("c", "i", RUNNING, is_started=True, is_ready=True)
    facts = PodFacts([], [container], "127.10.1.2", "127.10.255.11", BEFORE)
    assert conditions(pod_status(pod, facts, NOW))["Ready"] == "False"
    pod["status"] = {"conditions": [{"type": "example.com/gate", "status": "True"}]}
    assert conditions(pod_status(pod, facts, NOW))["Ready"] == "True"


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    earlier = [
        {"type": "Ready", "status": "True", "lastTransitionTime": BEFORE},
        {"type": "Initialized", "status": "False", "lastTransitionTime": BEFORE},
    ]
    pod = {"metadata": {}, "spec": {"containers": []}, "status": {"conditions": earlier}}
    container = ContainerFacts("c", "i", RUNNING, is_started=True, is_ready=True)
    status = pod_status(pod, PodFacts([], [container], "127.10.1.2", "127.10.255.11", BEFORE), NOW)
    times = {each["type"]: each["lastTransitionTime"] for each in status["conditions"]}
    assert (times["Ready"], times["Initialized"]) == (BEFORE, NOW)
