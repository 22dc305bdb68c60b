"""One server alone and a cluster of three shards for tests with clients; each test begins without data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from redis import Redis
from redis.cluster import ClusterNode, RedisCluster

from bench.ports import free_port
from tests.redoubt.harness import PATIENCE_S, ServerProcess, server_process

SHARDS = 3
SLOTS = 16384


@pytest.fixture(scope="session")
def alone() -> Iterator[ServerProcess]:
    """A server outside cluster mode."""
    with server_process() as server:
        yield server


@pytest.fixture(scope="session")
def shards() -> Iterator[list[ServerProcess]]:
    """Three masters that share the slots."""
    with ExitStack() as stack:
        nodes: list[ServerProcess] = []
        for _ in range(SHARDS):
            words = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--bind", "127.0.0.1")
            nodes.append(stack.enter_context(server_process(*words)))
        for place, node in enumerate(nodes):
            connection = node.connect()
            first, past = SLOTS * place // SHARDS, SLOTS * (place + 1) // SHARDS
            assert connection.ask("CLUSTER", "ADDSLOTSRANGE", first, past - 1).text == b"OK"
            if place:
                bus = nodes[0].command[nodes[0].command.index("--cluster-port") + 1]
                connection.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus)
        deadline = time.monotonic() + PATIENCE_S
        while not all(is_whole(node) for node in nodes):
            assert time.monotonic() < deadline, "the cluster does not form"
            time.sleep(0.05)
        yield nodes


def is_whole(node: ServerProcess) -> bool:
    """Say whether a node knows the owner of every slot."""
    text = node.connect().ask("CLUSTER", "INFO")
    return b"cluster_state:ok" in text and b"cluster_slots_assigned:16384" in text


@pytest.fixture
def redis(alone: ServerProcess) -> Iterator[Redis]:
    """redis-py on the server alone."""
    with Redis(port=alone.port, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def cluster(shards: list[ServerProcess]) -> Iterator[RedisCluster]:
    """redis-py on the three shards."""
    nodes = [ClusterNode("127.0.0.1", node.port) for node in shards]
    with RedisCluster(startup_nodes=nodes, decode_responses=True) as client:
        client.flushall(target_nodes=RedisCluster.PRIMARIES)
        yield client


@pytest.fixture(params=["alone", "shards"])
def client(request: pytest.FixtureRequest) -> Redis | RedisCluster:
    """redis-py on either."""
    name = "redis" if request.param == "alone" else "cluster"
    found = request.getfixturevalue(name)
    assert isinstance(found, Redis | RedisCluster)
    return found
