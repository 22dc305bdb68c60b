"""Containers as the kubelet runs them: restarts, probes, grace, memory, images, environment, logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from devcluster.cluster import DevCluster
from devcluster.faults import Faults

pytestmark = pytest.mark.cluster
Maker = Callable[..., dict[str, Any]]
Status = Callable[[str], dict[str, Any]]


def test_a_failing_container_restarts_at_once_and_then_backs_off(
    cluster: DevCluster, run_pod: Maker, container_status: Status
) -> None:
    run_pod("crash", "exit 3")
    status = cluster.wait_until(
        lambda: (
            "waiting" in (found := container_status("crash")).get("state", {})
            and found["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            and found
        )
    )
    assert status["restartCount"] == 1
    assert status["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main")
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    began = time.monotonic()
    cluster.wait_until(lambda: container_status("crash")["restartCount"] == 2, message="second restart")
    assert 8 < time.monotonic() - began < 14


def test_a_killed_container_is_back_within_a_second_in_the_same_pod(
    cluster: DevCluster, namespace: str, run_pod: Maker, container_status: Status, faults: Faults
) -> None:
    run_pod("victim", "exec sleep 1000")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/victim", "-n", namespace, "--timeout=20s")
    before = cluster.pod("victim", namespace)
    began = time.monotonic()
    faults.kill("victim", namespace)
    status = cluster.wait_until(lambda: (found := container_status("victim"))["restartCount"] == 1 and found)
    assert time.monotonic() - began < 2
    ended = status["lastState"].get("terminated") or status["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    after = cluster.pod("victim", namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["podIP"] == before["status"]["podIP"]


@pytest.mark.parametrize(("policy", "phase"), [("Never", "Failed"), ("OnFailure", "Running")])
def test_restart_policy_decides_what_a_failure_means(
    cluster: DevCluster, namespace: str, run_pod: Maker, policy: str, phase: str
) -> None:
    run_pod("once", "exit 1", restartPolicy=policy)
    cluster.wait_until(
        lambda: (
            (status := cluster.pod("once", namespace)["status"])["phase"] == phase
            and (phase == "Failed" or status["containerStatuses"][0]["restartCount"] == 1)
        ),
        message=f"phase {phase}",
    )


def test_a_pod_that_has_done_its_work_succeeds(cluster: DevCluster, namespace: str, run_pod: Maker) -> None:
    run_pod("work", "echo done", restartPolicy="OnFailure")
    cluster.wait_until(lambda: cluster.pod("work", namespace)["status"]["phase"] == "Succeeded")
    assert cluster.kubectl("logs", "work", "-n", namespace) == "done\n"


def test_readiness_follows_its_probe(cluster: DevCluster, namespace: str, run_pod: Maker) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    run_pod("probed", "exec sleep 1000", readinessProbe=probe)
    cluster.wait_until(lambda: cluster.pod("probed", namespace)["status"].get("phase") == "Running")
    ready = ["wait", "--for=condition=Ready", "pod/probed", "-n", namespace]
    assert cluster.try_kubectl(*ready, "--timeout=2s").returncode
    cluster.kubectl("exec", "probed", "-n", namespace, "--", "touch", "/tmp/ready")
    cluster.kubectl(*ready, "--timeout=5s")
    cluster.kubectl("exec", "probed", "-n", namespace, "--", "rm", "/tmp/ready")
    cluster.kubectl("wait", "--for=condition=Ready=false", "pod/probed", "-n", namespace, "--timeout=5s")


def test_http_and_tcp_probes_reach_the_pods_address(
    cluster: DevCluster, namespace: str, run_pod: Maker
) -> None:
    run_pod(
        "web",
        "exec python3 -m http.server --bind $IP 8080",
        env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        ports=[{"name": "http", "containerPort": 8080}],
        startupProbe={"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 20},
        readinessProbe={"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "-n", namespace, "--timeout=20s")


def test_a_failed_liveness_probe_restarts_the_container(
    cluster: DevCluster, namespace: str, run_pod: Maker, container_status: Status
) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}
    run_pod("hung", "exec sleep 1000", livenessProbe=probe)
    cluster.wait_until(lambda: container_status("hung").get("restartCount", 0) >= 1, message="restart")
    events = cluster.kubectl("get", "events", "-n", namespace, "--field-selector=reason=Killing")
    assert "failed liveness probe, will be restarted" in events


def test_liveness_waits_until_startup_has_succeeded(
    cluster: DevCluster, namespace: str, run_pod: Maker, container_status: Status
) -> None:
    startup = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 100}
    liveness = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    run_pod("slow", "exec sleep 1000", startupProbe=startup, livenessProbe=liveness)
    cluster.wait_until(lambda: "running" in container_status("slow").get("state", {}))
    time.sleep(2.5)  # real time: more than two liveness periods on a real kubelet's clock
    status = container_status("slow")
    assert (status["restartCount"], status["started"], status["ready"]) == (0, False, False)


def test_a_program_that_ignores_sigterm_gets_its_grace_period_and_no_more(
    cluster: DevCluster, namespace: str, run_pod: Maker
) -> None:
    run_pod("stubborn", "trap '' TERM; while true; do sleep 0.1; done", terminationGracePeriodSeconds=3)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/stubborn", "-n", namespace, "--timeout=20s")
    began = time.monotonic()
    cluster.kubectl("delete", "pod", "stubborn", "-n", namespace)
    assert 2.5 < time.monotonic() - began < 5


def test_prestop_runs_before_sigterm(cluster: DevCluster, namespace: str, run_pod: Maker) -> None:
    mount = {"name": "d", "mountPath": "/data"}
    run_pod(
        "hooked",
        "trap 'echo term >> /data/log; exit 0' TERM; while true; do sleep 0.05; done",
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "echo prestop >> /data/log"]}}},
        volumeMounts=[mount],
        volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "log"}}],
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "log"}, "spec": claim},
        namespace,
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/hooked", "-n", namespace, "--timeout=20s")
    cluster.kubectl("delete", "pod", "hooked", "-n", namespace)
    run_pod(
        "reader",
        "cat /data/log",
        restartPolicy="Never",
        volumeMounts=[mount],
        volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "log"}}],
    )
    cluster.wait_until(lambda: cluster.pod("reader", namespace)["status"].get("phase") == "Succeeded")
    assert cluster.kubectl("logs", "reader", "-n", namespace) == "prestop\nterm\n"


def test_a_container_over_its_memory_limit_is_oom_killed(
    cluster: DevCluster, run_pod: Maker, container_status: Status
) -> None:
    run_pod(
        "hungry",
        "",
        command=["python3", "-c", "import time; x = bytearray(200 << 20); time.sleep(1000)"],
        resources={"limits": {"memory": "100Mi"}},
    )
    status = cluster.wait_until(lambda: (found := container_status("hungry")).get("restartCount") and found)
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


def test_a_missing_image_backs_off_until_the_spec_names_a_known_one(
    cluster: DevCluster, namespace: str, run_pod: Maker, container_status: Status
) -> None:
    run_pod("image", "exec sleep 1000", image="devcluster-tools:missing-1")
    seen = set()

    def waiting(reason: str) -> bool:
        seen.add(container_status("image").get("state", {}).get("waiting", {}).get("reason"))
        return reason in seen

    cluster.wait_until(lambda: waiting("ErrImagePull"))
    cluster.wait_until(lambda: waiting("ImagePullBackOff"))
    repaired = '{"spec": {"containers": [{"name": "main", "image": "devcluster-tools:2"}]}}'
    cluster.kubectl("patch", "pod", "image", "-n", namespace, "-p", repaired)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/image", "-n", namespace, "--timeout=5s")


def test_a_changed_image_restarts_the_container_in_its_pod(
    cluster: DevCluster, namespace: str, run_pod: Maker, container_status: Status
) -> None:
    run_pod("rolled", "exec sleep 1000", image="devcluster-tools:1")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/rolled", "-n", namespace, "--timeout=20s")
    newer = '{"spec": {"containers": [{"name": "main", "image": "devcluster-tools:2"}]}}'
    cluster.kubectl("patch", "pod", "rolled", "-n", namespace, "-p", newer)
    status = cluster.wait_until(lambda: (found := container_status("rolled"))["restartCount"] == 1 and found)
    assert status["image"] == "devcluster-tools:2"


def test_init_containers_run_in_order_before_the_containers(
    cluster: DevCluster, namespace: str, run_pod: Maker
) -> None:
    mount = [{"name": "d", "mountPath": "/data"}]

    def init(name: str) -> dict[str, Any]:
        script = f"echo {name} >> /data/log"
        return {
            "name": name,
            "image": "devcluster-tools",
            "command": ["sh", "-c", script],
            "volumeMounts": mount,
        }

    run_pod(
        "ordered",
        "cat /data/log; exec sleep 1000",
        initContainers=[init("first"), init("second")],
        volumeMounts=mount,
        volumes=[{"name": "d", "emptyDir": {}}],
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/ordered", "-n", namespace, "--timeout=20s")
    cluster.wait_until(lambda: cluster.kubectl("logs", "ordered", "-n", namespace) == "first\nsecond\n")


def test_environment_comes_from_fields_secrets_and_config_maps(
    cluster: DevCluster, namespace: str, run_pod: Maker
) -> None:
    cluster.kubectl("create", "secret", "generic", "s", "--from-literal=password=hush", "-n", namespace)
    cluster.kubectl("create", "configmap", "c", "--from-literal=key=value", "-n", namespace)
    run_pod(
        "env",
        "",
        args=["$(PASSWORD)-$(NODE)"],
        command=["sh", "-c", 'echo "$NODE $PASSWORD $P_key $LIMIT $0"; exec sleep 1000'],
        env=[
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
            {
                "name": "LIMIT",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
            },
        ],
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "c"}}],
        resources={"limits": {"memory": "64Mi"}},
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/env", "-n", namespace, "--timeout=20s")
    node = cluster.pod("env", namespace)["spec"]["nodeName"]
    cluster.wait_until(
        lambda: cluster.kubectl("logs", "env", "-n", namespace) == f"{node} hush value 64 hush-{node}\n"
    )


def test_a_root_image_is_refused_where_root_is_forbidden(
    cluster: DevCluster, run_pod: Maker, container_status: Status
) -> None:
    run_pod("root", "exec sleep 1000", securityContext={"runAsNonRoot": True})
    status = cluster.wait_until(
        lambda: "waiting" in (found := container_status("root")).get("state", {}) and found
    )
    cluster.wait_until(
        lambda: container_status("root")["state"]["waiting"]["reason"] == "CreateContainerConfigError",
        message=f"was {status}",
    )


def test_a_command_that_does_not_exist_is_a_start_error(
    cluster: DevCluster, run_pod: Maker, container_status: Status
) -> None:
    run_pod("wrong", "", command=["no-such-program"], restartPolicy="Never")
    status = cluster.wait_until(
        lambda: "terminated" in (found := container_status("wrong")).get("state", {}) and found
    )
    ended = status["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "No such file" in ended["message"]


def test_logs_of_now_and_before(cluster: DevCluster, namespace: str, run_pod: Maker, faults: Faults) -> None:
    run_pod("talker", "for i in 1 2 3; do echo line $i; done; exec sleep 1000")
    logs = ["logs", "talker", "-n", namespace]
    cluster.wait_until(lambda: cluster.try_kubectl(*logs).stdout.count("\n") == 3)
    assert cluster.kubectl(*logs, "--tail=1") == "line 3\n"
    assert "no log" in cluster.try_kubectl(*logs, "--previous").stderr
    faults.kill("talker", namespace)
    cluster.wait_until(lambda: cluster.try_kubectl(*logs, "--previous").stdout == "line 1\nline 2\nline 3\n")


def test_followed_logs_end_with_the_container(cluster: DevCluster, namespace: str, run_pod: Maker) -> None:
    run_pod("steps", "echo a; sleep 1; echo b", restartPolicy="Never")
    cluster.wait_until(lambda: "containerStatuses" in cluster.pod("steps", namespace)["status"])
    cluster.wait_until(lambda: cluster.try_kubectl("logs", "-f", "steps", "-n", namespace).stdout == "a\nb\n")


def test_exec_has_input_output_and_exit_status(cluster: DevCluster, namespace: str, run_pod: Maker) -> None:
    run_pod("shell", "exec sleep 1000")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/shell", "-n", namespace, "--timeout=20s")
    prefix = ["exec", "-i", "shell", "-n", namespace, "--"]
    assert cluster.kubectl(*prefix, "cat", input="some text") == "some text"
    failed = cluster.try_kubectl(*prefix, "sh", "-c", "echo oops >&2; exit 7")
    assert (failed.returncode, failed.stderr.splitlines()[0]) == (7, "oops")
    assert cluster.kubectl("exec", "shell", "-n", namespace, "--", "hostname") == "shell\n"
