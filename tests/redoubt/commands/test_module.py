"""MODULE: nothing is loaded, and nothing can be; the same as a redis-server says."""

from __future__ import annotations

import shlex
import shutil

import pytest

from tests.differential.pair import Pair
from tests.redoubt.harness import redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]
LINES = (
    "MODULE LIST", "MODULE LOAD /x.so", "MODULE LOAD /x.so a b", "MODULE LOADEX /x.so ARGS a",
    "MODULE UNLOAD x", "MODULE FOO", "MODULE", "MODULE LIST x",
    "EVAL \"return redis.pcall('module', 'list')\" 0",
)  # fmt: skip


def test_modules_are_refused_as_by_redis() -> None:
    with redis_process() as judge, server_process() as ours:
        pair = Pair(judge, ours)
        for line in LINES:
            pair.compare(*shlex.split(line))
        pair.close()
