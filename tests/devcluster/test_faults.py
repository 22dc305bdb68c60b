"""The providers of faults: what they lack, and what the real node's provider runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from devcluster.faults import ApiFaults, Fault, FaultLacking, RealnodeFaults

POD = {"status": {"containerStatuses": [{"name": "server", "containerID": "containerd://abc"}]}}


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_api_alone_can_only_delete(tmp_path: Path) -> None:
    record = tmp_path / "calls"
    write_program(tmp_path / "kubectl", f'echo "$@" >> {record}')
    faults = ApiFaults("/k", str(tmp_path / "kubectl"))
    assert set(faults.lacking) == set(Fault) - {Fault.DELETE}
    with pytest.raises(FaultLacking, match="the API alone cannot kill: the API cannot signal"):
        faults.kill("a")
    faults.delete("a", "n")
    assert record.read_text() == "--kubeconfig=/k delete pod a -n n --wait=false\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="the real node's faults need root")
def test_the_real_node_kills_by_containerd_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "calls"
    write_program(tmp_path / "bin" / "kubectl", f"echo '{json.dumps(POD)}'")
    write_program(tmp_path / "path" / "ctr", f'echo "$@" >> {record}')
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    monkeypatch.setenv("REDOUBT_REALNODE", str(tmp_path))
    monkeypatch.setenv("RUN", "/run/x")
    faults = RealnodeFaults()
    faults.kill("a")
    faults.freeze("a")
    faults.thaw("a")
    prefix = "-a /run/x/ctd.sock -n k8s.io task"
    assert record.read_text().splitlines() == [
        f"{prefix} kill -s SIGKILL abc",
        f"{prefix} pause abc",
        f"{prefix} resume abc",
    ]
    with pytest.raises(FaultLacking, match="only node"):
        faults.lose_node("node1")
