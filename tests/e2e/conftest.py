"""One Kubernetes with the operator installed, for all end-to-end tests; one RedoubtCluster for each test.

REDOUBT_REALNODE=<directory> runs them on a real node instead of a devcluster of their own,
REDOUBT_TEST_DEVCLUSTER=<state> on a devcluster that runs already. A test asks for the faults that it needs
with `needs(fault, ...)`; where the provider lacks one, it is skipped with the provider's reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from devcluster.cluster import DevCluster
from devcluster.deployment import Deployment, Platform
from devcluster.faults import Fault
from devcluster.realnode import Realnode

RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    if directory := os.environ.get("REDOUBT_REALNODE"):
        node = Realnode(directory)
        node.restrict()
        node.offer_volumes(24)
        Deployment(node).install_operator()
        yield node
        return
    if running := os.environ.get("REDOUBT_TEST_DEVCLUSTER"):
        started = DevCluster(state=running)
        Deployment(started).install_operator()
        yield started
        return
    with DevCluster(nodes=4, state=tmp_path_factory.mktemp("e2e")) as cluster:
        Deployment(cluster).install_operator()
        yield cluster


@pytest.fixture
def needs(platform: Platform) -> Callable[..., None]:
    def check(*faults: Fault) -> None:
        for fault in faults:
            if fault in platform.faults.lacking:
                pytest.skip(f"{platform.faults.provider} lacks {fault}: {platform.faults.lacking[fault]}")

    return check


@pytest.fixture
def deployment(platform: Platform, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    name = request.node.name.removeprefix("test_").replace("_", "-").split("[")[0][:30].strip("-")
    deployment = Deployment(platform, name)
    yield deployment
    deployment.delete()


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """A cluster of three shards with one replica each, Ready and in sync."""
    deployment.apply(shards=3, replicasPerShard=1, resources=RESOURCES)
    deployment.wait_ready()
    deployment.wait_synced()
    return deployment


@pytest.fixture(scope="module")
def shared(platform: Platform, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Such a cluster for all tests of a module that leave it as they find it."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    deployment = Deployment(platform, f"shared-{name}")
    deployment.apply(shards=3, replicasPerShard=1, resources=RESOURCES)
    deployment.wait_ready()
    deployment.wait_synced()
    yield deployment
    deployment.delete()
