"""One devcluster for the tests of charts and GitOps, with helm, and the rendering of charts."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import toolchain
from devcluster.cluster import DevCluster
from tests.charts.installation import SYSTEM, Installed, Json


@pytest.fixture(scope="session")
def helm() -> str:
    """The pinned helm: built once, then from the cache."""
    return str(toolchain.build_helm())


@pytest.fixture(scope="session")
def render(helm: str) -> Callable[..., list[Json]]:
    """Render a chart as helm would install it; `values` are what a person would put into a file."""

    def rendered(chart: Path, release: str, namespace: str = SYSTEM, **values: Any) -> list[Json]:
        command = [helm, "template", release, str(chart), "--namespace", namespace, "--values", "-"]
        done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True)
        if done.returncode:
            raise ValueError(done.stderr)
        return [one for one in yaml.safe_load_all(done.stdout) if one]

    return rendered


@pytest.fixture(scope="session")
def bare(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The devcluster of these tests; whether an operator runs is the tests' affair."""
    with DevCluster(nodes=3, state=tmp_path_factory.mktemp("charts")) as cluster:
        yield Installed(cluster, helm)


@pytest.fixture
def installed(bare: Installed) -> Installed:
    """The same with the operator's chart installed by its defaults."""
    if not bare.has_operator():
        bare.install_operator()
    return bare


@pytest.fixture
def namespace(bare: Installed, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    words = request.node.name.removeprefix("test_").replace("_", "-").split("[")[0][:40].strip("-")
    name = f"{words}-{uuid.uuid4().hex[:6]}"
    bare.cluster.kubectl("create", "namespace", name)
    yield name
    bare.cluster.kubectl("delete", "namespace", name, "--wait=false")
