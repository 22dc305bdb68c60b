"""What the process knows of its memory: the container's limit, and giving memory back."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from redoubt.runtime.process import RunningProcess, container_limit_bytes
from tests.redoubt.harness import Connection, server_process


@pytest.mark.parametrize(
    ("text", "limit"), [("268435456\n", 268_435_456), ("max\n", 0), ("9223372036854771712\n", 0)]
)
def test_the_limit_of_the_container_is_read(tmp_path: Path, text: str, limit: int) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert container_limit_bytes((tmp_path / "absent", tmp_path / "memory.max")) == limit


def test_without_a_container_there_is_no_limit(tmp_path: Path) -> None:
    assert container_limit_bytes((tmp_path / "absent",)) == 0


def test_memory_is_given_back_where_glibc_is() -> None:
    assert RunningProcess().give_back_memory() is (platform.libc_ver()[0] == "glibc")


@pytest.mark.process
def test_after_a_flush_the_process_is_about_as_small_as_at_its_start() -> None:
    with server_process() as server:
        connection = Connection(server.port)
        start = resident_bytes(connection)
        for number in range(600):
            connection.ask("SET", f"key:{number}", b"x" * 100_000)
        full = resident_bytes(connection)
        connection.ask("FLUSHALL")
        connection.ask("MEMORY", "PURGE")
        assert full - start > 50 << 20
        assert resident_bytes(connection) - start < 15 << 20


def resident_bytes(connection: Connection) -> int:
    text = connection.ask("INFO", "memory")
    assert isinstance(text, bytes)
    return int(text.split(b"used_memory_rss:")[1].split(b"\r\n")[0])
