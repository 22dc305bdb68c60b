"""The HTTP port of a node, over real sockets, and readiness by rule."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from redoubt import metrics, readiness
from redoubt.commands.declare import all_rows
from redoubt.runtime import health
from redoubt.runtime.health import HealthPort
from redoubt.session import GATE_AWAITING, GATE_LOADING
from tests.redoubt.harness import START_MS, Harness

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


def talk(harness: Harness, conversation: Talk) -> Any:
    """Serve the node's health port on a free port and hold a conversation with it."""

    async def serve() -> Any:
        loop = asyncio.get_running_loop()
        port = HealthPort(harness.node.state, loop, lambda: harness.now_ms)
        server = await loop.create_server(port.make, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            return await asyncio.wait_for(conversation(reader, writer), 20)
        finally:
            writer.close()
            server.close()

    return asyncio.run(serve())


def get(harness: Harness, target: str, method: str = "GET") -> tuple[int, str]:
    """Ask once; return the status and the body."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()

    head, _, body = talk(harness, conversation).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def sent(data: bytes) -> bytes:
    """Send bytes; return everything until the server closes."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(data)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b"reset"

    return talk(Harness(), conversation)


@pytest.fixture
def harness() -> Iterator[Harness]:
    for row in all_rows():
        row.reset_statistics()
    yield Harness()


def test_liveness_looks_at_nothing_and_readiness_at_the_role_and_the_data(harness: Harness) -> None:
    state = harness.node.state
    assert get(harness, "/livez") == (200, "ok\n")
    assert get(harness, "/readyz") == (200, "ok\n")
    state.set_gate(GATE_AWAITING, True)
    state.set_gate(GATE_LOADING, True)
    assert get(harness, "/livez") == (200, "ok\n")
    expected = "not ready: waiting for its role\nnot ready: loading the dataset\n"
    assert get(harness, "/readyz") == (503, expected)


def test_a_replica_is_ready_for_the_node_timeout_and_five_seconds_after_its_link_broke() -> None:
    state = Harness("--cluster-node-timeout", "3000").node.state
    replication = state.replication
    replication.is_replica, replication.is_synced = True, False
    assert readiness.reasons(state, START_MS) == ["its copy of the master's dataset is not complete"]
    replication.is_synced, replication.link_is_up = True, True
    assert readiness.reasons(state, START_MS) == []
    replication.link_is_up, replication.link_down_since_ms = False, START_MS
    assert readiness.reasons(state, START_MS + 8000) == []
    assert readiness.reasons(state, START_MS + 8001) == ["its link to the master is down for 8 seconds"]


def test_the_scrape_is_what_prometheus_reads_and_counts_what_happened(harness: Harness) -> None:
    client = harness.connect()
    client.ask("SET", "a", "1")
    client.ask("GET", "a")
    client.ask("GET", "b")
    client.ask("NOSUCH")
    next(row for row in all_rows() if row.name == "get").add_duration(3, 64)
    status, body = get(harness, "/metrics")
    assert status == 200
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
    assert values[("redis_up",)] == 1
    assert values[("redis_commands_total", ("cmd", "get"))] == 2
    assert values[("redis_keyspace_hits_total",)] == 1
    assert values[("redis_keyspace_misses_total",)] == 1
    assert values[("redis_db_keys", ("db", "db0"))] == 1
    assert values[("redis_errors_total", ("err", "ERR"))] == 1
    assert values[("redis_connected_clients",)] == 1
    assert values[("redoubt_command_latency_seconds_count", ("class", "read"))] == 64
    assert values[("redoubt_command_latency_seconds_bucket", ("class", "read"), ("le", "2e-06"))] == 0
    assert values[("redoubt_command_latency_seconds_bucket", ("class", "read"), ("le", "4e-06"))] == 64
    assert values[("redis_commands_latencies_usec_sum", ("cmd", "get"))] == 192


def test_every_family_stands_once_with_its_samples_together(harness: Harness) -> None:
    _, body = get(harness, "/metrics")
    headers = [line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")]
    assert len(headers) == len(set(headers))
    assert set(headers) <= set(metrics.FAMILIES)


@contextmanager
def collectors(instead: list[Any]) -> Iterator[None]:
    """Have these supply the samples. The list itself changes: a compiled module does not look its name up."""
    before = list(metrics._COLLECTORS)
    metrics._COLLECTORS[:] = instead
    try:
        yield
    finally:
        metrics._COLLECTORS[:] = before


def test_a_scrape_that_names_families_gets_only_these_and_asks_only_their_suppliers(
    harness: Harness,
) -> None:
    asked = []
    watched = [
        (lambda state, collect=collect, names=names: (asked.append(names), collect(state))[1], names)
        for collect, names in metrics._COLLECTORS
    ]
    with collectors(watched):
        _, body = get(harness, "/metrics?name[]=redis_up&name[]=redis_memory_max_bytes")
    lines = [line for line in body.splitlines() if not line.startswith("#")]
    assert lines == ["redis_up 1", "redis_memory_max_bytes 0"]
    assert len(asked) == 2


def test_a_supplier_that_fails_is_answered_and_the_port_lives(harness: Harness) -> None:
    def broken(state: Any) -> list[metrics.Sample]:
        raise ValueError("broken")

    with collectors([(broken, ["redis_up"])]):
        assert get(harness, "/metrics")[0] == 500
        assert get(harness, "/livez")[0] == 200


def test_labels_are_escaped() -> None:
    assert metrics.labels([("a", 'x"\\\n'), ("b", "y")]) == 'a="x\\"\\\\\\n",b="y"'


def test_other_paths_and_methods_are_refused(harness: Harness) -> None:
    assert get(harness, "/nosuch")[0] == 404
    assert get(harness, "/livez", "POST")[0] == 405
    assert get(harness, "/livez", "HEAD") == (200, "")


def test_a_kept_connection_serves_one_request_after_another(harness: Harness) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        answers = []
        for _ in range(3):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            answers.append(await reader.readuntil(b"ok\n"))
        return answers

    answers = talk(harness, conversation)
    assert len(answers) == 3
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


@pytest.mark.parametrize(
    "data", [b"garbage\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"PING\r\n\r\n"]
)
def test_what_is_no_request_is_refused_and_closed(data: bytes) -> None:
    assert sent(data).startswith((b"HTTP/1.1 400", b"HTTP/1.1 5"))


def test_an_oversized_request_is_refused_and_closed() -> None:
    assert sent(b"GET /" + b"x" * 100_000).startswith((b"HTTP/1.1 431", b"reset"))


def test_thousands_of_requests_in_one_packet_get_one_answer() -> None:
    answer = sent(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    assert answer == b"reset" or answer.count(b"HTTP/1.1 200") == 1


def test_a_request_that_trickles_in_is_closed_however_many_bytes_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "REQUEST_S_MAX", 0.3)

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        while not reader.at_eof() and loop.time() - start < 10:
            writer.write(b"G")
            try:
                await asyncio.wait_for(reader.read(1), 0.05)
            except TimeoutError:
                continue
            except ConnectionError:
                break
        return loop.time() - start

    assert 0.25 < talk(Harness(), conversation) < 5


def test_connections_beyond_the_limit_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CONNECTIONS_MAX", 0)
    assert sent(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") in (b"", b"reset")
