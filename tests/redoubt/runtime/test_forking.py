"""Forked children: what they write, hold, and leave behind, however they end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from redoubt.interfaces import ForkJob, ForkSave
from redoubt.resp.replies import encode_command
from redoubt.runtime.forking import Children
from tests.redoubt.harness import Connection, ServerProcess, server_process

PATIENCE_S = 20


class Job(ForkJob):
    """Writes the given pieces, and remembers what it is told."""

    def __init__(self, pieces: list[bytes], pause_s: float = 0.0) -> None:
        self.pieces = pieces
        self.pause_s = pause_s
        self.outcomes: list[str] = []
        self.told: list[int] = []
        self.fork_durations_us: list[int] = []
        self.pieces_written = 0

    def chunks(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if piece == b"fail":
                raise ValueError("as asked")
            time.sleep(self.pause_s)
            self.pieces_written += 1
            yield piece

    def keys_written(self) -> int:
        return self.pieces_written

    def forked(self, duration_us: int) -> None:
        self.fork_durations_us.append(duration_us)

    def progressed(self, keys_written: int, private_bytes: int, now_ms: int) -> None:
        assert private_bytes > 0
        self.told.append(keys_written)

    def done(self, error: str, now_ms: int) -> None:
        self.outcomes.append(error)


async def until_done(job: Job) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not job.outcomes:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def run(job: Job, path: Path, disturb: object = None) -> Children:
    """Let a child work until the job has heard of its end."""

    async def work() -> Children:
        children = Children(asyncio.get_running_loop(), lambda: 7)
        children.begin(ForkSave(job, str(path), True), 7)
        if callable(disturb):
            (child,) = children.running.values()
            await asyncio.sleep(0.05)
            disturb(child.pid)
        await until_done(job)
        return children

    return asyncio.run(work())


def test_a_child_writes_the_file_and_says_so(tmp_path: Path) -> None:
    job = Job([b"one", b"two"])
    run(job, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"onetwo"
    assert job.outcomes == [""]
    assert job.told == [2]
    assert len(job.fork_durations_us) == 1
    assert os.listdir(tmp_path) == ["file"]
    assert job.pieces_written == 0  # that happened in the child


def test_a_child_tells_how_far_it_is(tmp_path: Path) -> None:
    job = Job([b"x"] * 3, pause_s=0.7)
    run(job, tmp_path / "file")
    assert job.told[0] in (2, 3)
    assert job.told[-1] == 3


def test_a_killed_child_is_a_failure_and_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    job = Job([b"new"] * 1000, pause_s=0.01)
    run(job, tmp_path / "file", lambda pid: os.kill(pid, signal.SIGKILL))
    assert job.outcomes == ["terminated by signal 9"]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_in_the_child_is_told_by_its_name(tmp_path: Path) -> None:
    job = Job([b"new", b"fail"])
    run(job, tmp_path / "file")
    assert job.outcomes == ["ValueError: as asked"]
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    job = Job([b"new"])
    run(job, tmp_path / "missing" / "file")
    assert job.outcomes == ["No such file or directory"]
    assert job.fork_durations_us == []


def test_a_disk_that_is_full_is_told_by_the_system_s_text() -> None:
    job = Job([b"x" * 100])
    path = Path("/dev/full")
    if not path.exists():
        pytest.skip("this system has no full device")

    async def work() -> None:
        children = Children(asyncio.get_running_loop(), lambda: 7)
        effect = ForkSave(job, "/dev/full")
        opened = os.open

        def open_full(*words: object) -> int:
            return opened("/dev/full", os.O_WRONLY)

        os.open = open_full  # type: ignore[assignment]
        try:
            children.begin(effect, 7)
        finally:
            os.open = opened
        await until_done(job)

    asyncio.run(work())
    assert job.outcomes == ["No space left on device"]


def test_a_child_given_up_is_silent_and_its_successor_undisturbed(tmp_path: Path) -> None:
    async def work() -> tuple[Job, Job]:
        children = Children(asyncio.get_running_loop(), lambda: 7)
        first, second = Job([b"1"] * 1000, pause_s=0.01), Job([b"2"])
        children.begin(ForkSave(first, str(tmp_path / "file")), 7)
        children.kill(str(tmp_path / "file"))
        children.begin(ForkSave(second, str(tmp_path / "file")), 7)
        await until_done(second)
        while children.running:
            await asyncio.sleep(0.005)
        return first, second

    first, second = asyncio.run(work())
    assert (first.outcomes, second.outcomes) == ([], [""])
    assert (tmp_path / "file").read_bytes() == b"2"
    assert os.listdir(tmp_path) == ["file"]


# With real servers.


def filled(server: ServerProcess, keys: int) -> Connection:
    client = server.connect()
    for number in range(0, keys, 1000):
        words = [word for each in range(number, number + 1000) for word in (f"key:{each}", f"value:{each}")]
        client.ask("MSET", *words)
    return client


def persistence(client: Connection) -> dict[bytes, bytes]:
    lines = client.ask("INFO", "persistence").splitlines() + client.ask("INFO", "stats").splitlines()
    return dict(line.split(b":", 1) for line in lines if b":" in line)


def settled(client: Connection) -> dict[bytes, bytes]:
    """Wait for the end of the save that runs."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := persistence(client))[b"rdb_bgsave_in_progress"] == b"1":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def child_of(server: ServerProcess) -> int:
    """Wait for the child of a server; return its process id."""
    path = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    deadline = time.monotonic() + PATIENCE_S
    while not (text := path.read_text().split()):
        assert time.monotonic() < deadline
    return int(text[0])


@pytest.mark.process
def test_a_forked_save_holds_the_moment_of_the_fork_and_the_server_goes_on() -> None:
    with server_process("--snapshot-mode", "fork", "--enable-debug-command", "yes") as server:
        client = filled(server, 50_000)
        before = client.ask("DEBUG", "DIGEST")
        assert client.ask("BGSAVE").text == b"Background saving started"
        client.ask("SET", "later", "1")
        child = child_of(server)
        links = [os.readlink(f"/proc/{child}/fd/{each}") for each in os.listdir(f"/proc/{child}/fd")]
        assert not [link for link in links if link.startswith("socket:")]
        found = settled(client)
        assert found[b"rdb_last_bgsave_status"] == b"ok"
        assert found[b"total_forks"] == b"1"
        assert int(found[b"latest_fork_usec"]) > 0
        assert int(found[b"rdb_last_cow_size"]) > 100_000
        assert found[b"rdb_changes_since_last_save"] == b"1"
        client.ask("DEBUG", "RELOAD", "NOSAVE")
        assert client.ask("DEBUG", "DIGEST") == before


@pytest.mark.process
def test_a_killed_child_is_a_failed_save_and_modes_change_live() -> None:
    with server_process("--snapshot-mode", "fork") as server:
        client = filled(server, 100_000)
        client.ask("BGSAVE")
        os.kill(child_of(server), signal.SIGKILL)
        assert settled(client)[b"rdb_last_bgsave_status"] == b"err"
        assert not os.path.exists(f"{server.directory}/dump.rdb")
        client.ask("CONFIG", "SET", "snapshot-mode", "forkless")
        client.ask("BGSAVE")
        found = settled(client)
        assert (found[b"rdb_last_bgsave_status"], found[b"total_forks"]) == (b"ok", b"1")
        assert [name for name in os.listdir(server.directory) if "temp" in name] == []


@pytest.mark.process
@pytest.mark.parametrize("how", ["SAVE", "NOSAVE"])
def test_a_shutdown_kills_the_child(how: str) -> None:
    with server_process("--snapshot-mode", "fork") as server:
        client = filled(server, 100_000)
        client.ask("BGSAVE")
        child = child_of(server)
        client.send(encode_command([b"SHUTDOWN", how.encode()]))
        server.process.wait(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while Path(f"/proc/{child}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert os.listdir(server.directory).count("dump.rdb") == (how == "SAVE")
        assert [name for name in os.listdir(server.directory) if "temp" in name] == []
