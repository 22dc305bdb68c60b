"""What people come for, as they would write it with redis-py: on one server, and on three shards."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from redis import ConnectionPool, Redis
from redis.cluster import RedisCluster

from tests.redoubt.harness import PATIENCE_S, ServerProcess

# People use SETEX, whatever the library says.
pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:Call to deprecated setex")]

Client = Any  # Redis or RedisCluster: the same commands
USERS = 40


def test_cache_aside(client: Client) -> None:
    loads: list[int] = []

    def user(number: int) -> Any:
        key = f"user:{number}"
        if (cached := client.get(key)) is not None:
            return json.loads(cached)
        loads.append(number)
        found = {"id": number, "name": f"Zoë {number}", "tags": ["a", "b"]}
        client.setex(key, 60, json.dumps(found))
        return found

    first = [user(number) for number in range(USERS)]
    assert [user(number) for number in range(USERS)] == first
    assert loads == list(range(USERS))
    assert all(0 < client.ttl(f"user:{number}") <= 60 for number in range(USERS))
    client.delete("user:7")
    assert user(7) == first[7]
    assert loads[-1] == 7


def test_session_hash_expires_half_an_hour_after_its_last_use(client: Client) -> None:
    for number in range(USERS):
        key = f"session:{number}"
        client.hset(key, mapping={"user": number, "csrf": "token", "cart": json.dumps([1, 2])})
        client.expire(key, 1800)
    client.hset("session:3", "cart", "[]")
    assert client.hgetall("session:3") == {"user": "3", "csrf": "token", "cart": "[]"}
    assert 1790 < client.ttl("session:3") <= 1800
    client.pexpire("session:3", 40)
    deadline = time.monotonic() + PATIENCE_S
    while client.exists("session:3"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.hgetall("session:3") == {}


def test_rate_limiter_refuses_over_the_limit(client: Client) -> None:
    limit = 5

    def is_allowed(address: str) -> bool:
        key = f"rate:{address}"
        hits = client.incr(key)
        if hits == 1:
            client.expire(key, 60)
        return bool(hits <= limit)

    addresses = [f"10.0.0.{number}" for number in range(9)]
    for address in addresses:
        assert [is_allowed(address) for _ in range(8)] == [True] * limit + [False] * 3
        assert 0 < client.ttl(f"rate:{address}") <= 60


def test_messages_reach_channel_and_pattern_subscribers(client: Client) -> None:
    with client.pubsub() as subscriber:
        subscriber.subscribe("news", "other")
        subscriber.psubscribe("ne*", "sport.*")
        await_messages(subscriber, 4)
        client.publish("news", "first")
        client.publish("sport.tennis", "second")
        client.publish("nobody", "third")
        found = await_messages(subscriber, 3)
    assert sorted((message["type"], message["channel"], message["data"]) for message in found) == [
        ("message", "news", "first"), ("pmessage", "news", "first"), ("pmessage", "sport.tennis", "second"),
    ]  # fmt: skip


def await_messages(subscriber: Any, count: int) -> list[Any]:
    """Read so many messages; there must be no fewer in time."""
    found: list[Any] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < deadline, found
        if (message := subscriber.get_message(timeout=1)) is not None:
            found.append(message)
    return found


def in_threads(count: int, work: Any) -> None:
    """Run `work(number)` in so many threads; an error in any of them is ours."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert errors == []


def test_pool_is_shared_by_threads(alone: ServerProcess, redis: Redis) -> None:
    with ConnectionPool(port=alone.port, max_connections=20) as pool:

        def work(number: int) -> None:
            own = Redis(connection_pool=pool)
            for turn in range(100):
                own.incr("shared")
                own.set(f"thread:{number}", turn)
                assert own.get(f"thread:{number}") == str(turn).encode()

        in_threads(8, work)
    assert redis.get("shared") == "800"


def test_cluster_client_is_shared_by_threads(cluster: RedisCluster) -> None:
    def work(number: int) -> None:
        for turn in range(50):
            cluster.incr(f"shared:{turn}")
            cluster.set(f"thread:{number}:{turn}", turn)
            assert cluster.get(f"thread:{number}:{turn}") == str(turn)

    in_threads(6, work)
    assert [cluster.get(f"shared:{turn}") for turn in range(50)] == ["6"] * 50


def test_pipeline_of_a_thousand_commands(client: Client) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.set(f"key:{number}", number)
            pipe.get(f"key:{number}")
        replies = pipe.execute()
    assert replies == [reply for number in range(500) for reply in (True, str(number))]


def test_leaderboard(client: Client) -> None:
    for number in range(200):
        client.zadd("board", {f"player:{number}": number * 1.5})
    best = client.zrange("board", 0, 2, desc=True, withscores=True)
    assert list(map(tuple, best)) == [("player:199", 298.5), ("player:198", 297.0), ("player:197", 295.5)]
    assert (client.zrevrank("board", "player:199"), client.zrevrank("board", "player:0")) == (0, 199)
    assert client.zincrby("board", 1000, "player:0") == 1000.0
    assert client.zrevrank("board", "player:0") == 0
    assert client.zcount("board", 290, 300) == 6


def test_work_queue_is_shared_by_waiting_workers(client: Client) -> None:
    done: list[str] = []

    def work(number: int) -> None:
        while (task := client.brpop("queue", timeout=PATIENCE_S)) is not None and task[1] != "stop":
            done.append(task[1])

    def produce() -> None:
        for number in range(200):
            client.lpush("queue", f"task:{number}")
        for _ in range(4):
            client.lpush("queue", "stop")

    producer = threading.Timer(0.1, produce)
    producer.start()
    in_threads(4, work)
    producer.join()
    assert sorted(done) == sorted(f"task:{number}" for number in range(200))
    assert client.llen("queue") == 0
