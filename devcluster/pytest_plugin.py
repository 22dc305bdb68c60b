"""Pytest fixtures for tests that need a Kubernetes: `cluster`, `namespace`, `faults`, and their marks.

A conftest brings it in by importing its `pytest_configure`. All tests of a run share one devcluster with a
state of its own, made when the first test asks for it and gone with the run; REDOUBT_TEST_DEVCLUSTER names
the state of a running one to use instead, which saves its start. `@pytest.mark.cluster` marks what needs
one, `@pytest.mark.faults(...)` what a test breaks: it is skipped where the provider cannot, and the end of
the run lists what was skipped and why.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from typing import Final

import pytest

from devcluster.cluster import DevCluster
from devcluster.faults import DevclusterFaults, Fault, Faults, RealnodeFaults

NAME: Final = "devcluster"
_SKIPPED: Final[dict[str, str]] = {}  # fault -> reason


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks, and this module as a plugin, once however many conftests import it."""
    if not config.pluginmanager.has_plugin(NAME):
        config.pluginmanager.register(sys.modules[__name__], NAME)
        config.addinivalue_line(
            "markers", "faults(*names): skipped where the provider lacks one of these faults"
        )


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """The devcluster of this run."""
    if running := os.environ.get("REDOUBT_TEST_DEVCLUSTER"):
        yield DevCluster(state=running)
        return
    with DevCluster(nodes=4, state=tmp_path_factory.mktemp("devcluster")) as started:
        yield started


@pytest.fixture
def namespace(cluster: DevCluster) -> Iterator[str]:
    """A namespace of the test's own, with its default service account; deleted afterwards, unawaited."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    cluster.wait_until(
        lambda: cluster.try_kubectl("get", "serviceaccount", "default", "-n", name).returncode == 0,
        message=f"service account of {name}",
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Faults:
    """The provider of faults: a real node if REDOUBT_REALNODE names one, else devcluster."""
    provider: Faults
    if os.environ.get("REDOUBT_REALNODE"):
        provider = RealnodeFaults()
    else:
        started: DevCluster = request.getfixturevalue("cluster")
        provider = DevclusterFaults(started)
    for mark in request.node.iter_markers("faults"):
        for name in mark.args:
            if reason := provider.lacking.get(Fault(name)):
                _SKIPPED[str(name)] = reason
                pytest.skip(f"{provider.provider} cannot {name}: {reason}")
    return provider


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the faults that were asked for and not possible."""
    for fault, reason in sorted(_SKIPPED.items()):
        terminalreporter.write_line(f"not tested: {fault} ({reason})")
