"""`kubectl redoubt switchover` and `rebalance`: an order by annotation, and the wait for its end.

The annotation gets a token that no earlier order had, so that the same order can be given again. What comes
of it is read from the status: the operator repeats the request there with its result. Runs on a person's
machine with their rights; it needs `patch` on RedoubtClusters and changes nothing else.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from redoubt_operator.kube import CLUSTERS, Kube
from redoubt_operator.names import ANNOTATION_REBALANCE, ANNOTATION_SWITCHOVER

LOOK_EVERY_S: Final = 0.2
# The operator answers an order within two looks, and gives a switchover up after a minute.
ANSWER_LIMIT_S: Final = 90.0
ACCEPTED: Final = "Accepted"
BAD_RESULTS: Final = frozenset({"Refused", "Failed"})


@dataclass(frozen=True, slots=True)
class Order:
    """What to annotate, and where in the status its result appears."""

    annotation: str
    request: str
    row: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order, in words."""

    text: str
    is_good: bool


def switchover(where: str, token: str) -> Order:
    """Shard, or shard/pod, that is to get another master."""
    return Order(ANNOTATION_SWITCHOVER, f"{where} {token}", "lastSwitchover")


def rebalance(token: str) -> Order:
    """The slots are to be balanced by bytes and load."""
    return Order(ANNOTATION_REBALANCE, token, "lastRebalance")


async def give(
    kube: Kube, namespace: str, name: str, order: Order, limit_s: float = ANSWER_LIMIT_S
) -> Outcome:
    """Give an order and wait until it is done, refused or failed. Raises ApiError."""
    patch = {"metadata": {"annotations": {order.annotation: order.request}}}
    await kube.merge_patch(CLUSTERS, namespace, name, patch)
    until_s = time.monotonic() + limit_s
    row: dict[str, Any] = {}
    while time.monotonic() < until_s:
        manifest = await kube.get(CLUSTERS, namespace, name) or {}
        row = (manifest.get("status") or {}).get(order.row) or {}
        if row.get("request") == order.request and row.get("result") != ACCEPTED:
            result = str(row.get("result"))
            return Outcome(f"{result}: {row.get('message', '')}", result not in BAD_RESULTS)
        await asyncio.sleep(LOOK_EVERY_S)
    if row.get("request") == order.request:
        return Outcome(f"{row.get('result')}: {row.get('message', '')}; it goes on by itself", True)
    return Outcome("the operator has not answered; is it running, and is the cluster paused?", False)
