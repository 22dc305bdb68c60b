"""The limits that connections live under: number, place, idleness, unsent output."""

from __future__ import annotations

from redoubt.clients import PROTECTED, TOO_MANY
from tests.redoubt.harness import Harness


def test_one_client_too_many_is_told_and_closed() -> None:
    harness = Harness("--maxclients", "2")
    harness.connect()
    harness.connect()
    third = harness.connect()
    assert third.received == TOO_MANY
    assert third.is_closed
    assert harness.node.state.statistics.connections_rejected == 1
    assert len(harness.node.state.sessions) == 2


def test_protected_mode_refuses_strangers_without_a_password() -> None:
    stranger = Harness().connect("10.1.2.3:4000")
    assert stranger.received == PROTECTED
    assert stranger.is_closed
    assert not Harness("--protected-mode", "no").connect("10.1.2.3:4000").is_closed
    assert not Harness("--requirepass", "x").connect("10.1.2.3:4000").is_closed
    assert not Harness().connect("/run/redoubt.sock:0").is_closed
    assert not Harness().connect("[::1]:4000").is_closed


def test_idle_clients_are_closed_after_the_timeout_and_busy_ones_are_not() -> None:
    harness = Harness("--timeout", "10")
    idle, busy = harness.connect(), harness.connect()
    for _ in range(12):
        harness.advance(1000)
        busy.ask("PING")
    assert idle.is_closed
    assert not busy.is_closed


def test_unsent_output_over_the_hard_limit_ends_the_connection() -> None:
    harness = Harness("--client-output-buffer-limit", "normal", "100000", "0", "0")
    client = harness.connect()
    client.ask("SET", "k", b"x" * 60_000)
    client.reads = False
    client.send(b"GET k\r\n")
    assert not client.is_closed
    client.send(b"GET k\r\n")
    assert client.is_closed
    assert harness.node.state.statistics.output_limit_disconnections == 1


def test_unsent_output_over_the_soft_limit_is_forgiven_for_its_seconds() -> None:
    harness = Harness("--client-output-buffer-limit", "normal", "0", "50000", "5")
    client = harness.connect()
    client.ask("SET", "k", b"x" * 60_000)
    client.reads = False
    client.send(b"GET k\r\n")
    harness.advance(4000)
    assert not client.is_closed
    harness.advance(3000)
    assert client.is_closed
