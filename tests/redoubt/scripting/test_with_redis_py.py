"""What redis-py does with scripts: locks, registered scripts after a flush, functions, pipelines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import LockNotOwnedError, NoScriptError, ResponseError

from tests.redoubt.harness import server_process

pytestmark = pytest.mark.process


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    with server_process() as server:
        connection = redis.Redis(port=server.port)
        yield connection
        connection.close()


def test_a_lock_is_taken_extended_and_released_by_its_owner_only(client: redis.Redis) -> None:
    lock = client.lock("lock", timeout=10)
    assert lock.acquire(blocking=False)
    assert not client.lock("lock", timeout=10).acquire(blocking=False)
    assert lock.extend(20) and lock.reacquire() and lock.owned()
    client.set("lock", "another's")
    with pytest.raises(LockNotOwnedError):
        lock.release()
    client.delete("lock")
    assert lock.acquire(blocking=False)
    lock.release()
    assert client.exists("lock") == 0


def test_a_registered_script_survives_a_flush(client: redis.Redis) -> None:
    script = client.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
    assert script(keys=["n"], args=[2]) == 2
    client.script_flush()
    with pytest.raises(NoScriptError):
        client.evalsha(script.sha, 1, "n", 1)
    assert script(keys=["n"], args=[3]) == 5
    client.script_flush()
    pipe = client.pipeline()
    for _ in range(3):
        script(keys=["n"], args=[1], client=pipe)
    assert pipe.execute() == [6, 7, 8]


def test_functions_are_called_by_name(client: redis.Redis) -> None:
    body = "function(k, a) return redis.call('incrby', k[1], a[1]) end"
    code = f"#!lua name=l\nredis.register_function('add', {body})"
    assert client.function_load(code) == b"l"
    assert client.fcall("add", 1, "n", 4) == 4
    with pytest.raises(ResponseError, match="write flag"):
        client.fcall_ro("add", 1, "n", 4)
