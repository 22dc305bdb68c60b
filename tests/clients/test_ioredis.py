"""ioredis of Node.js, unmodified, on one server and on three shards; the script is `ioredis.js`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from redis import Redis
from redis.cluster import RedisCluster

from tests.clients.packages import modules_of_clients
from tests.redoubt.harness import ServerProcess

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).resolve().parent / "ioredis.js"


def run(kind: str, port: int) -> None:
    environment = {**os.environ, "NODE_PATH": modules_of_clients()}
    done = subprocess.run(
        ["node", str(SCRIPT), kind, str(port)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "ioredis works\n", done.stderr


def test_ioredis_on_one_server(alone: ServerProcess, redis: Redis) -> None:
    run("alone", alone.port)


def test_ioredis_on_three_shards(shards: list[ServerProcess], cluster: RedisCluster) -> None:
    run("shards", shards[0].port)
