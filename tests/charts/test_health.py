"""What tools that wait for a resource make of it, in every situation, as a real API server returns it.

The judge (`judge/main.go`) links kstatus, by which Flux and Helm wait, and runs the rule of docs/gitops.md in
the interpreter of Argo CD.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster import toolchain
from tests.charts.installation import SMALL, Installed, Json, documents, resource

pytestmark = pytest.mark.cluster

Judge = Callable[..., tuple[str, str]]
RULE = "resource.customizations.health.redoubt.dev_RedoubtCluster"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Say what kstatus and Argo CD make of an object."""
    program = toolchain.build_module(Path(__file__).parent / "judge")
    [settings] = [one for one in documents("gitops.md") if one["kind"] == "ConfigMap"]
    rule = tmp_path_factory.mktemp("argo") / "health.lua"
    rule.write_text(settings["data"][RULE])

    def judged(found: Json) -> tuple[str, str]:
        done = subprocess.run([program, rule], input=json.dumps(found), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        verdict = json.loads(done.stdout)
        return verdict["kstatus"], verdict["argo"]["status"]

    return judged


@pytest.fixture
def watched(installed: Installed, namespace: str, judge: Judge) -> Callable[[], tuple[str, str]]:
    return lambda: judge(installed.resource("cache", namespace))


def reach(
    installed: Installed,
    watched: Callable[[], tuple[str, str]],
    wanted: tuple[str, str],
    within_s: float = 60,
) -> list[tuple[str, str]]:
    """Wait for a verdict; returns the different ones on the way."""
    seen: list[tuple[str, str]] = []
    deadline = time.monotonic() + within_s
    while not seen or seen[-1] != wanted:
        assert time.monotonic() < deadline, f"wanted {wanted}, seen {seen}"
        if (verdict := watched()) not in seen[-1:]:
            seen.append(verdict)
    return seen


def test_from_the_apply_to_ready_and_through_a_change(
    installed: Installed, namespace: str, watched: Callable[[], tuple[str, str]]
) -> None:
    installed.apply(resource("cache", namespace, SMALL))
    progressing, current = ("InProgress", "Progressing"), ("Current", "Healthy")
    assert reach(installed, watched, current) == [progressing, current]
    installed.apply(resource("cache", namespace, SMALL | {"replicasPerShard": 2}))
    assert reach(installed, watched, current) == [progressing, current]
    installed.cluster.kubectl("annotate", "rdc", "cache", "-n", namespace, "redoubt.dev/paused=true")
    reach(installed, watched, ("Current", "Suspended"))


def test_what_nobody_has_looked_at_is_not_current(bare: Installed, namespace: str, judge: Judge) -> None:
    bare.install_operator()
    bare.apply(resource("old", namespace, SMALL))
    bare.wait_ready("old", namespace)
    bare.uninstall_operator()
    bare.apply(resource("new", namespace, SMALL))
    bare.apply(resource("old", namespace, SMALL | {"replicasPerShard": 2}))
    for name in ("new", "old"):
        assert judge(bare.resource(name, namespace)) == ("InProgress", "Progressing")


@pytest.mark.parametrize(
    "fault",
    [{"auth": {"secretName": "nowhere"}}, {"image": "redoubt-server:missing"}],
    ids=["secret", "image"],
)
def test_what_waits_for_a_person_has_failed_until_the_person_comes(
    installed: Installed, namespace: str, watched: Callable[[], tuple[str, str]], fault: Json
) -> None:
    installed.apply(resource("cache", namespace, SMALL | fault))
    reach(installed, watched, ("Failed", "Degraded"))
    installed.apply(resource("cache", namespace, SMALL))
    reach(installed, watched, ("Current", "Healthy"), within_s=90)


def test_lost_data_are_degraded_until_they_are_acknowledged(judge: Judge) -> None:
    def conditions(**statuses: str) -> Json:
        listed = [
            {"type": name, "status": status, "reason": "Any", "message": name}
            for name, status in statuses.items()
        ]
        found = resource("cache", "shop", SMALL, generation=2)
        return found | {"status": {"observedGeneration": 2, "conditions": listed}}

    assert judge(conditions(Ready="True", DataLost="True")) == ("Current", "Degraded")
    assert judge(conditions(Ready="True", DataLost="False")) == ("Current", "Healthy")
    assert judge(conditions(Ready="False", Stalled="True", Reconciling="True")) == ("Failed", "Degraded")


def test_a_resource_that_is_being_deleted_is_terminating(
    installed: Installed, namespace: str, watched: Callable[[], tuple[str, str]]
) -> None:
    installed.apply(resource("cache", namespace, SMALL))
    installed.wait_ready("cache", namespace)
    # An object of somebody else that depends on it, as an application may have: it goes first, and slowly.
    owner = installed.resource("cache", namespace)["metadata"]
    reference = {
        "apiVersion": "redoubt.dev/v1alpha1",
        "kind": "RedoubtCluster",
        "name": "cache",
        "uid": owner["uid"],
        "blockOwnerDeletion": True,
    }
    metadata = {"name": "slow", "namespace": namespace, "finalizers": ["example.com/slow"]}
    metadata["ownerReferences"] = [reference]
    installed.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    delete = ["delete", "rdc", "cache", "-n", namespace, "--cascade=foreground", "--wait=false"]
    installed.cluster.kubectl(*delete)
    assert watched() == ("Terminating", "Progressing")
    patch = ["patch", "configmap", "slow", "-n", namespace, "--type=merge", "-p"]
    installed.cluster.kubectl(*patch, '{"metadata": {"finalizers": null}}')
    installed.cluster.kubectl("wait", "--for=delete", "rdc/cache", "-n", namespace, "--timeout=60s")
