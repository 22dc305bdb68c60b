"""What the tests of the server stand on: a node without a process, and real processes with a client.

`Harness` drives one Node as the runtime does, with a fake clock, a fake disk and clients that are lists of
bytes: nothing sleeps, nothing listens. `server_process` and `redis_process` start a real server on a free
port; `Connection` is the plainest client there is, so that what it proves is not the work of a library.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from bench.ports import free_port
from redoubt.config import Config
from redoubt.interfaces import (
    LISTEN_CLIENT,
    AppendFile,
    Close,
    CloseFile,
    CloseListener,
    Dial,
    Effect,
    Exit,
    FindFiles,
    ForkSave,
    Link,
    OpenListener,
    ReadFile,
    RemoveFile,
    SaveFile,
    Sleep,
    SyncFile,
    WriteFile,
)
from redoubt.node import Node
from redoubt.resp.decoder import NEED_MORE, NeedMore, ReplyDecoder
from redoubt.resp.replies import Reply, encode_command
from redoubt.session import Session

ROOT = Path(__file__).resolve().parent.parent.parent
START_MS = 1_700_000_000_000
# How long a process may take to start or to end on a busy machine.
PATIENCE_S = 30.0


class Harness:
    """One node, its clock, its disk and its clients."""

    def __init__(self, *words: str, files: dict[str, bytes] | None = None, seed: int = 1) -> None:
        """words: directives as on the command line, `--name value ...`."""
        self.now_ms = START_MS
        self.files: dict[str, bytes] = {} if files is None else files
        self.pieces: dict[str, bytes] = {}
        self.listening: set[int] = set()
        self.dials: list[Dial] = []
        self.slept_ms = 0
        self.exit_code: int | None = None
        self.disk_error = ""  # when set, every write fails with this text
        config = Config()
        for name, *values in split_directives(["--dir", "/data", "--save", "", *words]):
            config.assign([(name, values)], is_start=True)
        self.node = Node(config, Random(seed), self.now_ms)
        self.node.start(self.files.get(config.cluster_config_file, b""), self.now_ms)
        self.turn()

    def connect(self, peer: str = "127.0.0.1:50000") -> Client:
        """Open a client connection."""
        link = self.node.accepted(LISTEN_CLIENT, peer, "127.0.0.1:6379", self.now_ms)
        client = Client(self, link)
        link.handle = client
        self.turn()
        return client

    def advance(self, duration_ms: int) -> None:
        """Let time pass, with every tick that the node asks for."""
        end_ms = self.now_ms + duration_ms
        while self.now_ms < end_ms and self.exit_code is None:
            self.now_ms = min(max(self.node.next_tick_ms(), self.now_ms + 1), end_ms)
            self.node.tick(self.now_ms)
            self.turn()

    def turn(self) -> None:
        """End loop turns as the runtime does, until nothing is left to do."""
        while True:
            while effects := self.node.take_effects():
                for effect in effects:
                    self.fulfil(effect)
            self.node.state.replication.before_flush(self.now_ms)
            self.flush_log()
            for lane in self.node.state.dirty_lanes:
                links, lane[:] = list(lane), []
                for link in links:
                    self.flush(link)
            if not self.node.wants_turn():
                return

    def flush_log(self) -> None:
        """Write what the append-only file has for this turn, before any reply leaves."""
        state = self.node.state
        if state.log.is_dirty:
            state.log.flush(self.now_ms)
            while state.effects:
                effects, state.effects = state.effects, []
                for effect in effects:
                    self.fulfil(effect)

    def flush(self, link: Link) -> None:
        link.is_dirty = False
        client = link.handle
        data = b"".join(link.out)
        link.out.clear()
        if isinstance(client, Client):
            client.take(data)
            if link.closes_after_flush and not link.is_closed:
                self.end(client)

    def end(self, client: Client) -> None:
        client.is_closed = True
        self.node.closed(client.link, self.now_ms)

    def fulfil(self, effect: Effect) -> None:
        if isinstance(effect, SaveFile):
            if not self.disk_error:
                self.files[effect.path] = b"".join(effect.chunks)
            effect.job.done(self.disk_error, self.now_ms)
        elif isinstance(effect, WriteFile):
            self.pieces[effect.path] = self.pieces.get(effect.path, b"") + b"".join(effect.chunks)
            if self.disk_error:
                self.pieces.pop(effect.path)
                effect.job.done(self.disk_error, self.now_ms)
            elif effect.is_last:
                self.files[effect.path] = self.pieces.pop(effect.path)
                effect.job.done("", self.now_ms)
        elif isinstance(effect, ForkSave):
            if not self.disk_error:
                self.files[effect.path] = b"".join(effect.job.chunks())
            effect.job.done(self.disk_error, self.now_ms)
        elif isinstance(effect, AppendFile):
            if not self.disk_error:
                self.files[effect.path] = b"".join(
                    (self.files.get(effect.path, b"")[: effect.at], *effect.chunks)
                )
            effect.job.done(self.disk_error, self.now_ms)
        elif isinstance(effect, (SyncFile, CloseFile)):
            effect.job.done(self.disk_error, self.now_ms)
        elif isinstance(effect, ReadFile):
            data = self.files.get(effect.path)
            effect.job.began(len(data or b""))
            if data:
                effect.job.chunk(data, self.now_ms)
            effect.job.done("" if data is not None else "No such file or directory", self.now_ms)
        elif isinstance(effect, FindFiles):
            start = f"{effect.directory}/{effect.prefix}"
            for path in sorted(path for path in self.files if path.startswith(start)):
                effect.job.chunk(path.rpartition("/")[2].encode(), self.now_ms)
            effect.job.done("", self.now_ms)
        elif isinstance(effect, RemoveFile):
            self.pieces.pop(effect.path, None)
            if not effect.is_temporary:
                self.files.pop(effect.path, None)
        elif isinstance(effect, Close):
            if isinstance(effect.link.handle, Client) and not effect.link.handle.is_closed:
                self.end(effect.link.handle)
        elif isinstance(effect, Dial):
            self.dials.append(effect)
        elif isinstance(effect, OpenListener):
            self.listening.add(effect.kind)
        elif isinstance(effect, CloseListener):
            self.listening.discard(effect.kind)
        elif isinstance(effect, Sleep):
            self.slept_ms += effect.duration_ms
        else:
            assert isinstance(effect, Exit)
            self.exit_code = effect.code


class Client:
    """A client of a Harness; `reads` says whether it takes what is sent, or lets it pile up."""

    def __init__(self, harness: Harness, link: Link) -> None:
        self.harness = harness
        self.link = link
        self.received = b""
        self.decoder = ReplyDecoder()
        self.reads = True
        self.is_closed = False

    @property
    def session(self) -> Session:
        """The server's side of this client."""
        assert isinstance(self.link, Session)
        return self.link

    def take(self, data: bytes) -> None:
        if self.reads:
            self.received += data
            self.decoder.feed(data)
        else:
            self.link.unsent_bytes += len(data)
            self.harness.node.piled_up(self.link, self.harness.now_ms)

    def read_again(self) -> None:
        """Take everything that has piled up (its content is lost) and go on reading."""
        self.reads = True
        self.link.unsent_bytes = 0
        self.harness.node.drained(self.link, self.harness.now_ms)
        self.harness.turn()

    def send(self, data: bytes) -> bytes:
        """Send bytes; return what came back in the same loop turn."""
        before = len(self.received)
        self.harness.node.received(self.link, data, self.harness.now_ms)
        self.harness.turn()
        return self.received[before:]

    def close(self) -> None:
        """End the connection from the client's side."""
        self.harness.end(self)
        self.harness.turn()

    def ask(self, *words: bytes | str | int) -> Reply:
        """Run one command and return its reply; asserts that there is exactly one."""
        self.replies()
        self.send(encode_command([as_bytes(word) for word in words]))
        replies = self.replies()
        assert len(replies) == 1, replies
        return replies[0]

    def replies(self) -> list[Reply]:
        """Return the replies that have arrived and were not yet taken."""
        replies: list[Reply] = []
        while not isinstance(reply := self.decoder.next(), NeedMore):
            replies.append(reply)
        return replies


def split_directives(words: list[str]) -> list[list[str]]:
    """Group `--name value ...` words by directive."""
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("--"):
            groups.append([word[2:]])
        else:
            groups[-1].append(word)
    return groups


def as_bytes(word: bytes | str | int) -> bytes:
    """Turn what a test writes into an argument."""
    return word if isinstance(word, bytes) else str(word).encode()


class Connection:
    """A blocking client of a real server."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=PATIENCE_S)
        self.decoder = ReplyDecoder()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> Any:
        """Return the next reply; raises ConnectionError if the server closes first."""
        while (reply := self.decoder.next()) is NEED_MORE:
            data = self.socket.recv(1 << 18)
            if not data:
                raise ConnectionError("closed by the server")
            self.decoder.feed(data)
        return reply

    def ask(self, *words: bytes | str | int) -> Any:
        """Run one command and return its reply."""
        self.send(encode_command([as_bytes(word) for word in words]))
        return self.read()

    def read_to_end(self) -> bytes:
        """Return everything until the server closes."""
        rest = self.decoder.take_rest()
        try:
            while data := self.socket.recv(1 << 18):
                rest += data
        except ConnectionResetError:
            pass
        return rest

    def close(self) -> None:
        self.socket.close()


class ServerProcess:
    """A real server process with a directory of its own."""

    def __init__(self, command: list[str], words: tuple[str, ...], port: int) -> None:
        self.port = port
        self.directory = tempfile.mkdtemp(prefix="redoubt-test-")
        self.command = [*command, "--port", str(port), "--save", "", "--dir", self.directory, *words]
        self.log_path = os.path.join(self.directory, "log")
        self.start()

    def start(self) -> None:
        """Start the process (again) and wait until it answers."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment())
        deadline = time.monotonic() + PATIENCE_S
        while not self.answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def answers(self) -> bool:
        """Say whether the server answers anything at all."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64) != b""
        except OSError:
            return False

    def connect(self) -> Connection:
        return Connection(self.port)

    def log(self) -> str:
        """Return what the server has logged."""
        return Path(self.log_path).read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End the process with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """End the process with SIGTERM; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def resident_kib(self) -> int:
        """Return the resident memory of the process in KiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def clean(self) -> None:
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory)


@contextmanager
def server_process(*words: str, port: int = 0, config: str = "") -> Iterator[ServerProcess]:
    """Run our server (REDOUBT_SERVER names another build) with these directives; config: path of a file."""
    build = os.environ.get("REDOUBT_SERVER")
    command = [build] if build else [sys.executable, "-m", "redoubt.main"]
    server = ServerProcess([*command, *([config] if config else [])], words, port or free_port())
    try:
        yield server
    finally:
        server.clean()


@contextmanager
def redis_process(
    *words: str, port: int = 0, config: str = "", program: str = "redis-server"
) -> Iterator[ServerProcess]:
    """Run a real redis-server with these directives; config: path of a file; program: a newer judge's."""
    server = ServerProcess([program, *([config] if config else [])], words, port or free_port())
    try:
        yield server
    finally:
        server.clean()


def environment() -> dict[str, str]:
    """Return the environment of a server; one from the checkout needs to be told where the source is."""
    build = os.environ.get("REDOUBT_SERVER")
    place = {} if build else {"PYTHONPATH": str(ROOT / "server")}
    return {**os.environ, **place, "PYTHONUNBUFFERED": "1"}
