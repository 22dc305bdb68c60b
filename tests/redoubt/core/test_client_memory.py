"""What clients hold counts against maxmemory, and the largest of them go when it is too much."""

from __future__ import annotations

from redoubt.memory_report import MemoryReport
from redoubt.resp.replies import ErrorReply
from tests.redoubt.harness import Client, Harness

MEGABYTE = 1 << 20


def piling(harness: Harness, megabytes: int) -> Client:
    """Connect a client that does not read its replies, so many megabytes of them."""
    client = harness.connect()
    client.reads = False
    for _ in range(megabytes):
        client.send(b"GET large\r\n")
    return client


def harness_with_value(*words: str) -> Harness:
    harness = Harness("--client-output-buffer-limit", "normal", "0", "0", "0", *words)
    harness.connect().ask("SET", "large", b"x" * MEGABYTE)
    return harness


def evicted(harness: Harness) -> int:
    return harness.node.state.statistics.evicted_clients


def test_the_largest_client_is_closed_first() -> None:
    harness = harness_with_value()
    small = piling(harness, 1)
    large = piling(harness, 3)
    asking = harness.connect()
    asking.ask("CONFIG", "SET", "maxmemory-clients", 3 * MEGABYTE)
    harness.advance(200)
    assert (large.is_closed, small.is_closed, asking.is_closed) == (True, False, False)
    assert evicted(harness) == 1
    assert b"evicted_clients:1\r\n" in asking.ask("INFO", "stats")  # type: ignore[operator]


def test_it_is_closed_as_soon_as_its_output_piles_up() -> None:
    harness = harness_with_value("--maxmemory-clients", "2mb")
    client = piling(harness, 3)
    assert client.is_closed
    assert harness.node.state.client_bytes < MEGABYTE


def test_it_is_closed_for_what_it_sends_without_end() -> None:
    harness = Harness("--maxmemory-clients", "2mb")
    client = harness.connect()
    client.send(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % (4 * MEGABYTE))
    for _ in range(3):
        client.send(b"x" * MEGABYTE)
    assert client.is_closed
    assert evicted(harness) == 1


def test_no_evict_exempts_a_client_and_the_next_largest_goes() -> None:
    harness = harness_with_value()
    exempt, other = harness.connect(), piling(harness, 2)
    exempt.ask("CLIENT", "NO-EVICT", "on")
    exempt.reads = False
    for _ in range(3):
        exempt.send(b"GET large\r\n")
    harness.connect().ask("CONFIG", "SET", "maxmemory-clients", "1mb")
    harness.advance(200)
    assert (exempt.is_closed, other.is_closed) == (False, True)


def test_a_percentage_is_of_maxmemory_and_shown_as_such() -> None:
    harness = harness_with_value("--maxmemory", "20mb", "--maxmemory-clients", "10%")
    client = harness.connect()
    assert client.ask("CONFIG", "GET", "maxmemory-clients") == [b"maxmemory-clients", b"10%"]
    assert not piling(harness, 1).is_closed
    assert piling(harness, 3).is_closed
    reply = client.ask("CONFIG", "SET", "maxmemory-clients", "101%")
    assert isinstance(reply, ErrorReply)
    assert reply.text.endswith(b"percentage argument must be less or equal to 100")


def test_without_maxmemory_a_percentage_limits_nothing() -> None:
    harness = harness_with_value("--maxmemory-clients", "1%")
    assert not piling(harness, 5).is_closed


def test_a_limit_below_128_kib_lets_clients_talk() -> None:
    harness = Harness("--maxmemory-clients", "1")
    assert harness.connect().ask("PING") is not None
    harness.advance(2000)
    assert evicted(harness) == 0


def test_what_clients_hold_counts_against_maxmemory() -> None:
    harness = harness_with_value("--maxmemory", "4mb", "--repl-backlog-size", "16384")
    client = harness.connect()
    assert client.ask("SET", "before", "v") is not None
    piling(harness, 4)
    reply = client.ask("SET", "after", "v")
    assert isinstance(reply, ErrorReply) and reply.text.startswith(b"OOM")
    assert client.ask("GET", "before") == b"v"


def test_the_sum_follows_clients_that_come_read_and_go() -> None:
    harness = harness_with_value()
    start = harness.node.state.client_bytes
    client = piling(harness, 2)
    assert harness.node.state.client_bytes > start + 2 * MEGABYTE
    client.read_again()
    harness.advance(200)
    assert harness.node.state.client_bytes < start + MEGABYTE
    assert harness.node.state.client_bytes == MemoryReport(harness.node.state).client_bytes
    client.close()
    assert harness.node.state.client_bytes == sum(
        session.counted_bytes for session in harness.node.state.sessions.values()
    )
