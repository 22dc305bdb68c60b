"""Celery with Redoubt as its broker and result backend, and cachelib's Redis cache, both unmodified."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from tests.clients.packages import python_of_clients
from tests.redoubt.harness import ServerProcess

pytestmark = pytest.mark.process

PLACE = Path(__file__).resolve().parent
RUN_SECONDS_MAX = 200

CACHELIB = """
import sys
from cachelib import RedisCache
cache = RedisCache(host="127.0.0.1", port=int(sys.argv[1]), default_timeout=100, key_prefix="app:")
assert cache.set("user", {"name": "Zoë", "tags": {1, 2}})
assert cache.get("user") == {"name": "Zoë", "tags": {1, 2}}
assert cache.add("user", 1) is False and cache.add("other", 1) is True
assert cache.set_many({"a": 1, "b": [2]}) and cache.get_many("a", "b", "none") == [1, [2], None]
assert cache.inc("hits", 5) == 5 and cache.dec("hits", 2) == 3
assert cache.has("a") and cache.delete("a") and not cache.has("a")
assert cache.delete_many("b", "other")
assert cache.clear() and cache.get("user") is None
print("cache works")
"""


def test_celery_runs_groups_chords_retries_and_delays(alone: ServerProcess, redis: Redis) -> None:
    python = python_of_clients()
    environment = {**os.environ, "REDOUBT_URL": f"redis://127.0.0.1:{alone.port}", "PYTHONPATH": str(PLACE)}
    worker = subprocess.Popen(
        [python, "-m", "celery", "-A", "celery_tasks", "worker", "--pool", "threads", "--concurrency", "4",
         "--loglevel", "WARNING", "--hostname", "redoubt-test"],
        env=environment, cwd=alone.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        done = subprocess.run(
            [python, str(PLACE / "celery_tasks.py")],
            env=environment, cwd=alone.directory, capture_output=True, text=True, timeout=RUN_SECONDS_MAX,
        )  # fmt: skip
    finally:
        worker.terminate()
        log, _ = worker.communicate(timeout=60)
    assert done.stdout == "all tasks done\n", done.stderr + log


def test_cachelib_keeps_values(alone: ServerProcess, redis: Redis) -> None:
    done = subprocess.run(
        [python_of_clients(), "-c", CACHELIB, str(alone.port)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "cache works\n", done.stderr
