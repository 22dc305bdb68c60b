"""Orders by annotation through the plugin, and evictions within a budget, against a small API server."""

from __future__ import annotations

import asyncio

import pytest

from redoubt_operator import orders
from redoubt_operator.kube import ApiError
from redoubt_operator.orders import Outcome
from tests.redoubt_operator.fake_api import FakeApi, serve

PATH = "/apis/redoubt.dev/v1alpha1/namespaces/shop/redoubtclusters/cart"
POD = "/api/v1/namespaces/shop/pods/cart-0-1"


def ordered(order: orders.Order, *rows: dict[str, str]) -> tuple[FakeApi, Outcome]:
    """Give an order to an operator that writes these rows into the status, one after each look."""
    api = FakeApi()
    api.put(PATH, {"metadata": {}, "spec": {}})
    left = list(rows)

    async def answer() -> None:
        if left and "annotations" in api.objects[PATH]["metadata"]:
            api.objects[PATH]["status"] = {order.row: {"request": order.request} | left.pop(0)}

    async def scenario() -> Outcome:
        async with serve(api) as kube:
            api.gate = answer
            return await orders.give(kube, "shop", "cart", order, limit_s=1.0)

    return api, asyncio.run(scenario())


def test_a_switchover_is_asked_for_by_annotation_and_waited_for() -> None:
    order = orders.switchover("1/cart-1-1", "t7")
    accepted, done = {"result": "Accepted", "message": "soon"}, {"result": "Done", "message": "it serves"}
    api, outcome = ordered(order, accepted, done)
    assert outcome == Outcome("Done: it serves", True)
    annotations = api.objects[PATH]["metadata"]["annotations"]
    assert annotations == {"redoubt.dev/switchover": "1/cart-1-1 t7"}


def test_a_refusal_is_told_with_its_reason() -> None:
    _, outcome = ordered(orders.switchover("9", "t"), {"result": "Refused", "message": "there is no shard 9"})
    assert outcome == Outcome("Refused: there is no shard 9", False)


def test_an_order_that_nobody_takes_is_no_success() -> None:
    _, outcome = ordered(orders.rebalance("t"))
    assert not outcome.is_good


def test_an_order_that_lasts_goes_on_by_itself() -> None:
    _, outcome = ordered(orders.rebalance("t"), {"result": "Accepted", "message": "slots move"})
    assert outcome == Outcome("Accepted: slots move; it goes on by itself", True)


def test_an_eviction_names_the_pod_that_was_seen_and_is_asked_once() -> None:
    async def scenario() -> FakeApi:
        api = FakeApi()
        api.answers = [(429, {"Retry-After": "10"})]
        async with serve(api) as kube:
            with pytest.raises(ApiError) as refused:
                await kube.evict("shop", "cart-0-1", "uid-7")
            assert refused.value.status == 429
        return api

    api = asyncio.run(scenario())
    assert api.writes == [("POST", f"{POD}/eviction")]
    assert api.bodies[0]["deleteOptions"] == {"preconditions": {"uid": "uid-7"}}


def test_an_eviction_of_a_pod_that_is_gone_is_done() -> None:
    async def scenario() -> bool:
        api = FakeApi()
        api.answers = [(404, {})]
        async with serve(api) as kube:
            return await kube.evict("shop", "cart-0-1", "uid-7")

    assert asyncio.run(scenario()) is False
