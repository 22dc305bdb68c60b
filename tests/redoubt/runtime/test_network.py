"""Dialling and listening through the real runtime, in this process: what the node hears of each outcome."""

from __future__ import annotations

import asyncio
import socket
from random import Random

import pytest
import uvloop

from bench.ports import free_port
from redoubt.config import Config
from redoubt.hooks import PersistenceHook
from redoubt.interfaces import (
    LANE_REPLICA,
    LISTEN_CLIENT,
    Close,
    CloseListener,
    Dial,
    FileJob,
    Link,
    LinkOwner,
    ReadFile,
    SaveFile,
    WriteFile,
)
from redoubt.node import Node
from redoubt.runtime.clock import Clock
from redoubt.runtime.loop import Runtime
from redoubt.runtime.network import ListenError, open_sockets
from redoubt.runtime.stream import format_address


class Witness(LinkOwner):
    """Writes down what happens on its links."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def opened(self, link: Link, now_ms: int) -> None:
        self.events.append(("opened", link.local.rsplit(":", 1)[0]))

    def failed(self, link: Link, is_refused: bool, now_ms: int) -> None:
        self.events.append(("failed", is_refused))

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        self.events.append(("received", data))

    def closed(self, link: Link, now_ms: int) -> None:
        self.events.append(("closed", None))


class Process:
    """A runtime whose loop the test turns by hand."""

    def __init__(self, *pairs: tuple[str, list[str]]) -> None:
        config = Config()
        self.port = free_port()
        words = [("port", [str(self.port)]), ("bind", ["127.0.0.1"]), ("save", [""]), *pairs]
        config.assign(words, is_start=True)
        self.loop = uvloop.new_event_loop()
        clock = Clock()
        self.node = Node(config, Random(1), clock.now_ms())
        self.runtime = Runtime(self.node, self.loop, clock)
        self.runtime.start(b"")
        self.turn(0.05)

    def turn(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def wish(self, *effects: object) -> None:
        self.node.state.effects.extend(effects)  # type: ignore[arg-type]
        self.runtime.begin_turn()

    def until(self, witness: Witness, count: int) -> list[tuple[str, object]]:
        for _ in range(200):
            if len(witness.events) >= count:
                break
            self.turn(0.02)
        return witness.events

    def end(self) -> None:
        self.wish(CloseListener(LISTEN_CLIENT))
        self.turn(0.02)
        self.loop.close()


@pytest.fixture
def process():
    running = Process(("bind-source-addr", ["127.0.0.5"]))
    yield running
    running.end()


@pytest.fixture
def listener():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen()
        opened.settimeout(5)
        yield opened


def test_a_dialled_link_starts_at_the_source_address_and_carries_bytes(
    process: Process, listener: socket.socket
) -> None:
    witness = Witness()
    link = Link(witness, LANE_REPLICA)
    process.wish(Dial(link, "127.0.0.1", listener.getsockname()[1], 1000))
    assert process.until(witness, 1) == [("opened", "127.0.0.5")]
    peer, address = listener.accept()
    assert address[0] == "127.0.0.5"
    assert link.peer == format_address(listener.getsockname())
    process.node.state.send(link, b"hello")
    process.runtime.begin_turn()
    process.turn(0.02)
    assert peer.recv(10) == b"hello"
    peer.sendall(b"answer")
    assert process.until(witness, 2)[1:] == [("received", b"answer")]
    peer.close()
    assert process.until(witness, 3)[2:] == [("closed", None)]


def test_nobody_listening_is_told_as_refused(process: Process) -> None:
    witness = Witness()
    process.wish(Dial(Link(witness, LANE_REPLICA), "127.0.0.1", free_port(), 1000))
    assert process.until(witness, 1) == [("failed", True)]


def test_silence_is_told_as_not_refused(process: Process) -> None:
    # A backlog of one that is full: the kernel drops further connection attempts.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        address = silent.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        witness = Witness()
        process.wish(Dial(Link(witness, LANE_REPLICA), "127.0.0.1", address[1], 200))
        assert process.until(witness, 1) == [("failed", False)]
        for filler in fillers:
            filler.close()


def test_a_link_that_is_closed_while_it_is_dialled_ends_once(
    process: Process, listener: socket.socket
) -> None:
    witness = Witness()
    link = Link(witness, LANE_REPLICA)
    process.wish(Dial(link, "127.0.0.1", listener.getsockname()[1], 1000))
    process.node.state.close(link)
    assert process.until(witness, 1) == [("closed", None)]
    process.turn(0.1)
    assert witness.events == [("closed", None)]


def test_a_close_ends_the_stream_and_is_told(process: Process, listener: socket.socket) -> None:
    witness = Witness()
    link = Link(witness, LANE_REPLICA)
    process.wish(Dial(link, "127.0.0.1", listener.getsockname()[1], 1000))
    process.until(witness, 1)
    process.wish(Close(link))
    assert process.until(witness, 2)[1:] == [("closed", None)]
    peer, _ = listener.accept()
    assert peer.recv(1) == b""
    peer.close()


def test_unsent_bytes_are_measured_and_forgotten_when_they_are_taken(
    process: Process, listener: socket.socket
) -> None:
    witness = Witness()
    link = Link(witness, LANE_REPLICA)
    process.wish(Dial(link, "127.0.0.1", listener.getsockname()[1], 1000))
    process.until(witness, 1)
    peer, _ = listener.accept()
    size = 30 << 20
    process.node.state.send(link, bytes(size))
    process.runtime.begin_turn()
    process.turn(0.15)
    assert 0 < link.unsent_bytes <= size
    peer.settimeout(1)
    taken = 0
    while taken < size:
        taken += len(peer.recv(1 << 20))
        process.turn(0)
    process.turn(0.25)
    assert link.unsent_bytes == 0


def test_a_closed_listener_refuses_and_can_be_opened_again(process: Process) -> None:
    process.wish(CloseListener(LISTEN_CLIENT))
    process.turn(0.05)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", process.port), timeout=1)
    process.runtime.open_listener(LISTEN_CLIENT)
    process.runtime.open_listener(LISTEN_CLIENT)
    with socket.create_connection(("127.0.0.1", process.port), timeout=1) as client:
        client.sendall(b"PING\r\n")
        process.turn(0.05)
        assert client.recv(100) == b"+PONG\r\n"


def test_a_forgiven_address_leaves_the_others() -> None:
    port = free_port()
    sockets = open_sockets(["127.0.0.1", "-192.0.2.1"], port, 16)
    assert [opened.getsockname() for opened in sockets] == [("127.0.0.1", port)]
    with pytest.raises(ListenError, match=f"listening socket 127.0.0.1:{port}: bind: Address already in use"):
        open_sockets(["127.0.0.1"], port, 16)
    with pytest.raises(ListenError, match="Cannot assign requested address"):
        open_sockets(["192.0.2.1"], port, 16)
    for opened in sockets:
        opened.close()


class Outcome(FileJob):
    """Writes down what a file operation brings."""

    def __init__(self) -> None:
        self.data = b""
        self.errors: list[str] = []

    def chunk(self, data: bytes, now_ms: int) -> None:
        self.data += data

    def done(self, error: str, now_ms: int) -> None:
        self.errors.append(error)


def test_files_are_replaced_whole_and_read_in_slices(process: Process, tmp_path: object) -> None:
    path = f"{tmp_path}/file"
    content = bytes(range(256)) * 20_000
    saved, read = Outcome(), Outcome()
    process.wish(SaveFile(saved, path, [content[:1000], content[1000:]]), ReadFile(read, path))
    process.turn(0.3)
    assert saved.errors == [""]
    assert (read.data == content, read.errors) == (True, [""])


def test_a_file_written_in_pieces_takes_its_name_at_the_end(process: Process, tmp_path: object) -> None:
    path = f"{tmp_path}/file"
    written, missing, read = Outcome(), Outcome(), Outcome()
    process.wish(WriteFile(written, path, [b"first "], False), ReadFile(missing, path))
    process.turn(0.05)
    assert missing.errors == ["No such file or directory"]
    process.wish(WriteFile(written, path, [b"second"], True))
    process.turn(0.3)
    process.wish(ReadFile(read, path))
    process.turn(0.1)
    assert (written.errors, read.data) == ([""], b"first second")


def test_what_the_disk_refuses_is_told_in_its_words(process: Process, tmp_path: object) -> None:
    nowhere = f"{tmp_path}/missing/file"
    saved, written = Outcome(), Outcome()
    process.wish(SaveFile(saved, nowhere, [b"x"]), WriteFile(written, nowhere, [b"x"], True))
    process.turn(0.05)
    assert saved.errors == ["No such file or directory"]
    assert written.errors == ["No such file or directory"]


class Faulty(LinkOwner):
    """Has a bug."""

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        raise ZeroDivisionError

    def opened(self, link: Link, now_ms: int) -> None:
        """Nothing."""


def test_a_fault_of_ours_ends_one_connection_and_not_the_server(
    process: Process, listener: socket.socket
) -> None:
    link = Link(Faulty(), LANE_REPLICA)
    process.wish(Dial(link, "127.0.0.1", listener.getsockname()[1], 1000))
    process.turn(0.1)
    peer, _ = listener.accept()
    peer.sendall(b"x")
    process.turn(0.1)
    assert peer.recv(1) == b""
    assert process.runtime.faults == 1
    with socket.create_connection(("127.0.0.1", process.port), timeout=1) as client:
        client.sendall(b"PING\r\n")
        process.turn(0.05)
        assert client.recv(100) == b"+PONG\r\n"
    peer.close()


def test_a_fault_in_a_tick_does_not_stop_the_ticks(process: Process) -> None:
    ticks: list[int] = []

    class Broken(PersistenceHook):
        def tick(self, now_ms: int) -> None:
            ticks.append(now_ms)
            raise ZeroDivisionError

    process.node.state.persistence = Broken()
    process.turn(0.5)
    assert len(ticks) >= 3
    assert process.runtime.faults == len(ticks)
