"""The end in good order: save if that is configured or asked for, stay if it fails."""

from __future__ import annotations

from redoubt.hooks import ReplicationHook
from redoubt.resp.replies import ErrorReply
from redoubt.session import GATE_LOADING
from redoubt.shutdown import FAILED
from tests.redoubt.harness import Harness


def shut_down(harness: Harness, saves: bool | None = None, is_forced: bool = False) -> bool:
    began = harness.node.begin_shutdown(saves, False, is_forced, harness.now_ms)
    harness.turn()
    return began


def test_without_save_points_the_process_ends_without_a_file() -> None:
    harness = Harness()
    harness.connect().ask("SET", "k", "v")
    shut_down(harness)
    assert harness.exit_code == 0
    assert harness.files == {}


def test_with_save_points_the_dataset_is_there_after_the_restart() -> None:
    harness = Harness("--save", "900", "1")
    harness.connect().ask("SET", "k", "v")
    shut_down(harness)
    assert harness.exit_code == 0
    assert Harness(files=harness.files).connect().ask("GET", "k") == b"v"


def test_a_failing_save_calls_the_shutdown_off() -> None:
    harness = Harness("--save", "900", "1")
    client = harness.connect()
    harness.disk_error = "No space left on device"
    shut_down(harness)
    assert harness.exit_code is None
    assert not isinstance(client.ask("SET", "k", "v"), ErrorReply)
    harness.disk_error = ""
    harness.advance(100)
    assert shut_down(harness)
    assert harness.exit_code == 0


def test_the_client_that_asked_hears_of_the_failure() -> None:
    harness = Harness("--save", "900", "1")
    client = harness.connect()
    harness.disk_error = "No space left on device"
    harness.node.begin_shutdown(None, False, False, harness.now_ms, client.session)
    harness.turn()
    assert client.replies() == [FAILED]


def test_a_forced_shutdown_ends_although_the_save_fails() -> None:
    harness = Harness()
    harness.disk_error = "No space left on device"
    shut_down(harness, saves=True, is_forced=True)
    assert harness.exit_code == 0


def test_a_second_shutdown_changes_nothing() -> None:
    harness = Harness("--save", "900", "1")
    harness.disk_error = "No space left on device"
    harness.node.begin_shutdown(None, False, False, harness.now_ms)
    assert not harness.node.begin_shutdown(None, False, False, harness.now_ms)


def test_a_half_loaded_dataset_never_replaces_its_file() -> None:
    harness = Harness("--save", "900", "1")
    harness.node.state.set_gate(GATE_LOADING, True)
    shut_down(harness)
    assert harness.exit_code == 0
    assert harness.files == {}


class Lagging(ReplicationHook):
    """A master with a replica that is slow to take what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent = 1000

    def unsent_bytes(self) -> int:
        return self.unsent


def test_replicas_are_sent_everything_before_the_end_and_writes_wait() -> None:
    harness = Harness()
    client = harness.connect()
    lagging = harness.node.state.replication = Lagging()
    shut_down(harness)
    assert client.send(b"SET k 1\r\n") == b""
    harness.advance(500)
    assert harness.exit_code is None
    lagging.unsent = 0
    harness.advance(200)
    assert harness.exit_code == 0
    assert client.received == b""


def test_the_deadline_ends_the_patience_with_replicas() -> None:
    harness = Harness("--shutdown-timeout", "3")
    harness.node.state.replication = Lagging()
    shut_down(harness)
    harness.advance(2900)
    assert harness.exit_code is None
    harness.advance(200)
    assert harness.exit_code == 0


def test_a_shutdown_that_waits_can_be_called_off() -> None:
    harness = Harness()
    client = harness.connect()
    harness.node.state.replication = Lagging()
    shut_down(harness)
    client.send(b"SET k 1\r\n")
    assert harness.node.abort_shutdown()
    harness.turn()
    assert client.received == b"+OK\r\n"
    harness.advance(20_000)
    assert harness.exit_code is None
