"""Blocking commands and transactions against a real redis-server, told by stories of several clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.differential.blocking import STORIES, Stage
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


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("name", STORIES)
def test_story_goes_alike(servers: tuple[ServerProcess, ServerProcess], name: str, resp: int) -> None:
    expected, found = (Stage(server, resp).play(STORIES[name]) for server in servers)
    assert found == expected
