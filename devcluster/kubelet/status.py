"""The status of a pod, computed from what its containers are doing.

Pure: `pod.py` collects the facts, this module gives them the form that the API has, by the kubelet's rules
for phase and conditions. Conditions keep the time of their last change; those that others own
(PodScheduled, DisruptionTarget) are left out and thereby left alone. Source: "Pod Lifecycle" in the
Kubernetes documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from devcluster.kubelet.api import Object


@dataclass(slots=True)
class ContainerFacts:
    """What is known of one container; `state` and `last_state` have the API's form, with one key each."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Object = field(default_factory=dict)
    image_id: str = ""
    container_id: str = ""
    restart_count: int = 0
    is_started: bool = False
    is_ready: bool = False

    @property
    def is_running(self) -> bool:
        return "running" in self.state

    @property
    def terminated(self) -> Object | None:
        found: Object | None = self.state.get("terminated")
        return found

    def as_status(self) -> Object:
        """Return the entry of `containerStatuses`."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image_id,
            "containerID": self.container_id,
            "state": self.state,
            "lastState": self.last_state,
            "restartCount": self.restart_count,
            "ready": self.is_ready,
            "started": self.is_started,
        }


@dataclass(slots=True)
class PodFacts:
    """What is known of one pod."""

    init_containers: list[ContainerFacts]
    containers: list[ContainerFacts]
    pod_ip: str
    host_ip: str
    start_time: str
    is_ended: bool = False  # it will run nothing any more
    failure: tuple[str, str] | None = None  # reason and message of a pod that the kubelet refused or failed


def pod_status(pod: Object, facts: PodFacts, now: str) -> Object:
    """Return the status to report; `now` is the time of conditions that changed."""
    spec = pod["spec"]
    phase = _phase(spec.get("restartPolicy", "Always"), facts)
    conditions = _conditions(pod, facts, phase)
    before = {each["type"]: each for each in pod.get("status", {}).get("conditions", [])}
    for condition in conditions:
        earlier = before.get(condition["type"], {})
        same = earlier.get("status") == condition["status"]
        condition["lastTransitionTime"] = earlier["lastTransitionTime"] if same else now
        condition["observedGeneration"] = pod["metadata"].get("generation", 0)
    status: Object = {
        "phase": phase,
        "observedGeneration": pod["metadata"].get("generation", 0),
        "conditions": conditions,
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": facts.start_time,
        "qosClass": pod.get("status", {}).get("qosClass"),
        "containerStatuses": [each.as_status() for each in facts.containers],
    }
    if facts.init_containers:
        status["initContainerStatuses"] = [each.as_status() for each in facts.init_containers]
    if facts.pod_ip:
        status["podIP"] = facts.pod_ip
        status["podIPs"] = [{"ip": facts.pod_ip}]
    if facts.failure:
        status["reason"], status["message"] = facts.failure
    if status["qosClass"] is None:
        del status["qosClass"]
    return status


def is_pod_ready(pod: Object) -> bool:
    """Whether a pod's status says that it serves."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _phase(restart_policy: str, facts: PodFacts) -> str:
    if facts.failure:
        return "Failed"
    if not all(_has_succeeded(each) for each in facts.init_containers):
        given_up = facts.is_ended or (
            restart_policy == "Never" and any(_has_failed(each) for each in facts.init_containers)
        )
        return "Failed" if given_up else "Pending"
    containers = facts.containers
    if all(each.terminated for each in containers) and (facts.is_ended or restart_policy != "Always"):
        succeeded = all(_has_succeeded(each) for each in containers)
        if succeeded or restart_policy != "OnFailure" or facts.is_ended:
            return "Succeeded" if succeeded else "Failed"
        return "Running"
    never_ran = [each for each in containers if "waiting" in each.state and not each.last_state]
    if never_ran:
        return "Failed" if facts.is_ended else "Pending"
    return "Running"


def _conditions(pod: Object, facts: PodFacts, phase: str) -> list[dict[str, Any]]:
    initialized = all(_has_succeeded(each) for each in facts.init_containers)
    conditions = [
        _condition("PodReadyToStartContainers", bool(facts.pod_ip) and not facts.is_ended),
        _condition(
            "Initialized", initialized, "ContainersNotInitialized", "init containers have not completed"
        ),
    ]
    unready = [each.name for each in facts.containers if not each.is_ready]
    if phase == "Succeeded":
        reason, message = "PodCompleted", ""
    elif phase == "Failed":
        reason, message = "PodFailed", ""
    else:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    are_containers_ready = not unready and phase == "Running"
    conditions.append(_condition("ContainersReady", are_containers_ready, reason, message))
    gates = [each["conditionType"] for each in pod["spec"].get("readinessGates", [])]
    seen = {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions", [])}
    closed = [gate for gate in gates if seen.get(gate) != "True"]
    if are_containers_ready and closed:
        reason, message = "ReadinessGatesNotReady", f"readiness gates not ready: {', '.join(closed)}"
    conditions.append(_condition("Ready", are_containers_ready and not closed, reason, message))
    return conditions


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    condition: dict[str, Any] = {"type": kind, "status": "True" if holds else "False"}
    # Null removes what an earlier report said: the patch merges a condition's fields.
    condition["reason"] = None if holds or not reason else reason
    condition["message"] = None if holds or not message else message
    return condition


def _has_succeeded(container: ContainerFacts) -> bool:
    return container.terminated is not None and container.terminated["exitCode"] == 0


def _has_failed(container: ContainerFacts) -> bool:
    return container.terminated is not None and container.terminated["exitCode"] != 0
