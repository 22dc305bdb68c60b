"""What the process decides by itself: whether nodes are watched, and what SIGTERM interrupts."""

from __future__ import annotations

import asyncio

from redoubt_operator.main import _first, _may_watch_nodes
from tests.redoubt_operator.fake_api import FakeApi, run, serve


def test_refused_right_to_read_nodes_is_noticed_and_a_passing_error_is_no_refusal() -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            api.answers = [(403, {})]
            assert not await _may_watch_nodes(kube)
            assert await _may_watch_nodes(kube)
            api.answers = [(500, {}), (500, {}), (500, {}), (500, {})]
            assert await _may_watch_nodes(kube)

    run(scenario())


def test_work_that_ends_before_the_signal_is_done() -> None:
    async def scenario() -> None:
        assert await _first(asyncio.sleep(0), asyncio.Event())

    run(scenario())


def test_signal_cancels_what_is_waited_for() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        cancelled = asyncio.Event()

        async def wait() -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        asyncio.get_running_loop().call_later(0.01, stop.set)
        assert not await _first(wait(), stop)
        await asyncio.wait_for(cancelled.wait(), 1)

    run(scenario())
