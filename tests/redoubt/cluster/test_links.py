"""CLUSTER LINKS and COUNT-FAILURE-REPORTS: true figures, and the same answers as real nodes give."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redoubt.resp.replies import MapReply
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.cluster.test_processes import Nodes, until
from tests.redoubt.cluster.test_routing import HALF, OTHER
from tests.redoubt.harness import Client

FIELDS = [b"direction", b"node", b"create-time", b"events", b"send-buffer-allocated", b"send-buffer-used"]


def rows_of(reply: Any) -> list[dict[bytes, Any]]:
    """Read the rows of a reply in either protocol version."""
    rows = [
        dict(row.pairs) if isinstance(row, MapReply) else dict(zip(row[::2], row[1::2], strict=True))
        for row in reply
    ]
    assert all(list(row) == FIELDS for row in rows)
    return rows


def to_other(client: Client) -> dict[bytes, Any]:
    """Find the row of the stream that was dialled to the other node."""
    rows = rows_of(client.ask("CLUSTER", "LINKS"))
    [row] = [row for row in rows if row[b"node"] == OTHER.encode() and row[b"direction"] == b"to"]
    return row


def test_what_waits_to_be_sent_is_counted_and_limited() -> None:
    stage = Stage(HALF)
    stage.talk(300)
    client = stage.connect()
    link = stage.cluster.topology.nodes[OTHER].link
    assert link is not None
    assert to_other(client)[b"events"] == b"r"
    assert to_other(client)[b"send-buffer-used"] == 0
    link.unsent_bytes = 5000
    row = to_other(client)
    assert row[b"events"] == b"rw"
    assert row[b"send-buffer-allocated"] >= row[b"send-buffer-used"] == 5000
    info = client.ask("INFO", "memory")
    assert b"mem_cluster_links:5000\r\n" in getattr(info, "text", info)
    client.ask("CONFIG", "SET", "cluster-link-sendbuf-limit", 4000)
    stage.talk(1500)
    found = client.ask("CLUSTER", "INFO")
    assert b"total_cluster_links_buffer_limit_exceeded:1\r\n" in getattr(found, "text", found)
    assert stage.cluster.topology.nodes[OTHER].link is not link


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(stack)


@pytest.mark.process
def test_every_node_shows_two_links_to_every_other() -> None:
    with ExitStack() as stack:
        nodes = Nodes(stack)
        nodes.start("ours", "real", "ours")
        nodes.meet(3)
        ids = [nodes.node_id(at) for at in range(3)]
        now_ms = int(time.time() * 1000)
        for at in range(3):
            expected = sorted((way, ids[peer]) for peer in range(3) if peer != at for way in (b"from", b"to"))

            def seen(at: int = at) -> list[tuple[bytes, str]]:
                rows = rows_of(nodes.ask(at, "CLUSTER", "LINKS"))
                return sorted((row[b"direction"], row[b"node"].decode()) for row in rows)

            def is_complete(seen: Callable[[], object] = seen, wanted: object = expected) -> bool:
                return seen() == wanted

            until(is_complete, "two links to each")
            for row in rows_of(nodes.ask(at, "CLUSTER", "LINKS")):
                assert now_ms - 60_000 < row[b"create-time"] <= now_ms + 60_000
                assert row[b"events"] in (b"r", b"rw")
                assert row[b"send-buffer-allocated"] >= row[b"send-buffer-used"] >= 0


@pytest.mark.process
def test_failure_reports_are_counted_alike(nodes: Nodes) -> None:
    nodes.start("ours", "real", "ours", "real", "real")
    nodes.meet(5)
    silent = nodes.node_id(4)
    assert [nodes.ask(at, "CLUSTER", "COUNT-FAILURE-REPORTS", silent) for at in range(4)] == [0] * 4
    nodes.all[4].process.send_signal(signal.SIGSTOP)
    try:
        # The three others that have a voice report it to each of the four.
        until(
            lambda: [nodes.ask(at, "CLUSTER", "COUNT-FAILURE-REPORTS", silent) for at in range(4)] == [3] * 4,
            "everybody has the reports of the three others",
        )
    finally:
        nodes.all[4].process.send_signal(signal.SIGCONT)
    until(
        lambda: [nodes.ask(at, "CLUSTER", "COUNT-FAILURE-REPORTS", silent) for at in range(4)] == [0] * 4,
        "the reports are withdrawn",
    )
