"""Waiting and pausing: who waits is answered once, and what was held back runs in its place."""

from __future__ import annotations

from redoubt.blocking import Waiter
from redoubt.resp.replies import NULL_ARRAY, OK, PONG, encoded
from tests.redoubt.harness import START_MS, Harness


def test_a_wait_ends_at_its_deadline_with_its_own_answer() -> None:
    harness = Harness()
    client = harness.connect()
    harness.node.state.blocking.block(client.session, Waiter(START_MS + 50))
    harness.advance(49)
    assert client.replies() == []
    harness.advance(2)
    assert client.received == encoded(NULL_ARRAY)
    assert not client.session.is_blocked


def test_a_deadline_brings_the_next_tick_forward() -> None:
    harness = Harness()
    harness.advance(200)
    client = harness.connect()
    harness.node.state.blocking.block(client.session, Waiter(harness.now_ms + 7))
    assert harness.node.next_tick_ms() == harness.now_ms + 7


def test_a_deadline_that_was_given_up_is_not_waited_for_after_the_next_tick() -> None:
    harness = Harness()
    harness.advance(200)
    blocking = harness.node.state.blocking
    client, other = harness.connect(), harness.connect()
    blocking.block(client.session, Waiter(harness.now_ms + 7))
    blocking.block(other.session, Waiter(harness.now_ms + 30))
    blocking.pause("test", False, harness.now_ms + 20)
    blocking.unblock(client.session, OK)
    harness.advance(7)
    assert blocking.next_deadline_ms() == harness.now_ms + 13
    blocking.unpause("test")
    other.close()
    harness.advance(13)
    assert blocking.next_deadline_ms() == 0


def test_a_pause_of_writes_holds_writes_only_and_ends_by_itself() -> None:
    harness = Harness()
    writer, reader = harness.connect(), harness.connect()
    harness.node.state.blocking.pause("test", False, START_MS + 1000)
    assert writer.send(b"SET k 1\r\nGET k\r\n") == b""
    assert reader.ask("GET", "k") is None
    harness.advance(1000)
    assert writer.replies() == [OK, b"1"]


def test_a_pause_of_everything_holds_reads_too() -> None:
    harness = Harness()
    reader = harness.connect()
    harness.node.state.blocking.pause("test", True, 0)
    assert reader.send(b"GET k\r\n") == b""
    harness.node.state.blocking.unpause("test")
    harness.turn()
    assert reader.replies() == [None]


def test_a_command_waits_for_every_pause_that_concerns_it() -> None:
    harness = Harness()
    writer = harness.connect()
    blocking = harness.node.state.blocking
    blocking.pause("first", False, 0)
    blocking.pause("second", False, 0)
    writer.send(b"SET k 1\r\n")
    blocking.unpause("first")
    harness.turn()
    assert writer.replies() == []
    blocking.unpause("second")
    harness.turn()
    assert writer.replies() == [OK]


def test_a_client_that_leaves_while_its_command_is_held_back_leaves_nothing() -> None:
    harness = Harness()
    writer = harness.connect()
    harness.node.state.blocking.pause("test", False, 0)
    writer.send(b"SET k 1\r\n")
    writer.close()
    harness.node.state.blocking.unpause("test")
    harness.turn()
    other = harness.connect()
    assert other.ask("GET", "k") is None
    assert other.ask("PING") == PONG
