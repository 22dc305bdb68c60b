"""The newer judges: each answers with its version, and one that cannot be had says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import judges
from tests.redoubt.harness import redis_process


@pytest.mark.process
@pytest.mark.differential
@pytest.mark.parametrize(
    ("name", "field"),
    [("redis-8.0", b"redis_version:8.0"), ("valkey-8.1", b"valkey_version:8.1"),
     ("valkey-9", b"valkey_version:9.")],
)  # fmt: skip
def test_judge_is_the_server_that_its_name_says(name: str, field: bytes) -> None:
    with redis_process(program=judges.judge_program(name)) as server:
        assert field in server.connect().ask("INFO", "server")


def test_machine_without_the_archives_keys_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDOUBT_CACHE", str(tmp_path))
    monkeypatch.setattr(judges, "KEYRING", tmp_path / "no-keyring")
    judges._update_index.cache_clear()
    with pytest.raises(judges.Unobtainable, match="this machine is no Debian"):
        judges.obtain(judges.JUDGES["redis-8.0"])
    judges._update_index.cache_clear()
