"""Scripts and functions against a real redis-server: equal results, equal errors with place, equal data.

The scripts lie in `tests.differential.lua_sources` and `lua_programs`; each is compared in RESP2 and RESP3.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.differential.lua_programs import programs
from tests.differential.lua_sources import sources
from tests.differential.pair import Pair
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with redis_process() as judge, server_process() as ours:
        yield judge, ours


def fill(pair: Pair) -> None:
    pair.reset()
    pair.compare("RPUSH", "list", "a", "b", "c")
    pair.compare("HSET", "hash", "f", "1", "g", "2")
    pair.compare("ZADD", "zset", "1", "x", "2.5", "y")
    pair.compare("SET", "text", "text")


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("source", sources() + programs())
def test_a_script_is_answered_alike(
    servers: tuple[ServerProcess, ServerProcess], source: str, resp: int
) -> None:
    pair = Pair(*servers, resp)
    try:
        fill(pair)
        pair.compare("EVAL", source, "2", "k1", "k2", "a1", "a2")
        pair.compare_contents()
    finally:
        pair.close()
