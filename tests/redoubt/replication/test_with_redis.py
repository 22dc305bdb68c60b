"""Real processes: Redoubt and redis-server as masters and replicas of each other, and of themselves."""

import threading
import time
from random import Random

import pytest

from tests.redoubt.harness import redis_process, server_process

pytestmark = pytest.mark.process

SERVERS = {"redoubt": server_process, "redis": redis_process}
PAIRS = [("redoubt", "redoubt"), ("redoubt", "redis"), ("redis", "redoubt")]
NOW = ["--repl-diskless-sync-delay", "0"]
PATIENCE_S = 20


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


def information(client, section="replication"):
    text = client.ask("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def contents(client, databases=(0, 1, 9)):
    """Return every key with its value and expiry."""
    found = {}
    for database in databases:
        client.ask("SELECT", database)
        cursor, keys = b"0", []
        while True:
            cursor, some = client.ask("SCAN", cursor, "COUNT", 1000)
            keys += some
            if cursor == b"0":
                break
        for start in range(0, len(keys), 500):
            part = sorted(set(keys[start : start + 500]))
            for key, value in zip(part, client.ask("MGET", *part), strict=True):
                found[(database, key)] = value
        for key in set(keys):
            if key.startswith(b"expiring"):
                found[(database, b"expiry of " + key)] = client.ask("PEXPIRETIME", key)
    client.ask("SELECT", 0)
    return found


def fill(client, count=2000):
    random = Random(3)
    for i in range(count):
        client.ask("SET", f"key {i}", random.randbytes(random.randrange(60)))
    for number in (0, -1, 127, -128, 128, 32767, -32769, 1 << 31, -(1 << 31), (1 << 63) - 1):
        client.ask("SET", f"number {number}", number)
    client.ask("SET", "packed", "ab" * 5000)
    client.ask("SET", b"binary \x00\xff\r\n", bytes(range(256)) * 300)
    client.ask("SET", "expiring 1", "x", "EX", 1000)
    client.ask("SET", "expiring 2", "x", "PX", 1_000_001)
    client.ask("SELECT", 9)
    client.ask("SET", "elsewhere", "9")
    client.ask("SELECT", 0)


def write_some(client, seed):
    """Change data by every kind of string command."""
    random = Random(seed)
    for _ in range(300):
        key = f"key {random.randrange(100)}"
        random.choice(
            [
                lambda key=key: client.ask("SET", key, random.randbytes(10)),
                lambda key=key: client.ask("APPEND", key, "tail"),
                lambda: client.ask("INCRBY", f"counter {random.randrange(5)}", random.randrange(1000)),
                lambda: client.ask("INCRBYFLOAT", "float", "0.1"),
                lambda key=key: client.ask("DEL", key),
                lambda: client.ask("SET", f"expiring {random.randrange(9)}", "y", "EX", 500),
                lambda: client.ask("PERSIST", f"expiring {random.randrange(9)}"),
                lambda key=key: client.ask("SETRANGE", key, random.randrange(50), "patch"),
                lambda key=key: client.ask("GETDEL", key),
                lambda: client.ask("MSET", "m1", random.random(), "m2", random.random()),
                lambda key=key: client.ask("RENAME", "packed", "packed"),
                lambda: client.ask("COPY", "packed", f"copy {random.randrange(5)}", "REPLACE"),
            ]
        )()


def caught_up(master, replica):
    """Wait until the replica has applied everything."""
    until(
        lambda: (
            information(replica)["master_link_status"] == "up"
            and information(replica)["slave_repl_offset"] == information(master)["master_repl_offset"]
        ),
        "the replica has everything",
    )


@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_a_replica_gets_and_keeps_the_same_data(kinds):
    with SERVERS[kinds[0]](*NOW) as first, SERVERS[kinds[1]](*NOW) as second:
        master, replica = first.connect(), second.connect()
        fill(master)
        replica.ask("REPLICAOF", "127.0.0.1", first.port)
        write_some(master, 1)
        caught_up(master, replica)
        assert contents(replica) == contents(master)
        write_some(master, 2)
        master.ask("SELECT", 1)
        master.ask("SET", "in one", "1")
        master.ask("SELECT", 0)
        assert master.ask("WAIT", 1, 5000) == 1
        assert contents(replica) == contents(master)
        # The link is cut; the replica goes on where it was.
        full = information(master, "stats")["sync_full"]
        assert master.ask("CLIENT", "KILL", "TYPE", "replica") == 1
        write_some(master, 3)
        caught_up(master, replica)
        assert contents(replica) == contents(master)
        assert information(master, "stats")["sync_full"] == full
        assert int(information(master, "stats")["sync_partial_ok"]) >= 1


@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_a_full_copy_under_ten_thousand_writes_a_second_is_whole(kinds):
    with SERVERS[kinds[0]](*NOW) as first, SERVERS[kinds[1]](*NOW) as second:
        master, writer, replica = first.connect(), first.connect(), second.connect()
        for start in range(0, 100_000, 1000):
            pairs = [word for i in range(start, start + 1000) for word in (f"key {i}", f"value {i} " * 5)]
            master.ask("MSET", *pairs)
        stop = threading.Event()
        written = [0]

        def write():
            random = Random(1)
            while not stop.is_set():
                batch = b"".join(
                    b"*2\r\n$4\r\nINCR\r\n$%d\r\n%b\r\n" % (len(key), key)
                    for key in (b"counter %d" % random.randrange(20_000) for _ in range(100))
                )
                writer.send(batch)
                for _ in range(100):
                    writer.read()
                written[0] += 100
                time.sleep(0.008)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            time.sleep(0.3)
            replica.ask("REPLICAOF", "127.0.0.1", first.port)
            until(lambda: information(replica)["master_link_status"] == "up", "the copy is complete")
            time.sleep(0.3)
        finally:
            stop.set()
            thread.join()
        caught_up(master, replica)
        assert written[0] > 1000
        assert contents(replica, [0]) == contents(master, [0])
        assert information(master, "stats")["sync_full"] == "1"


def test_a_chain_of_both_kinds_has_one_history():
    with redis_process(*NOW) as first, server_process(*NOW) as second, redis_process(*NOW) as third:
        master, middle, last = first.connect(), second.connect(), third.connect()
        fill(master, 100)
        middle.ask("REPLICAOF", "127.0.0.1", first.port)
        caught_up(master, middle)
        last.ask("REPLICAOF", "127.0.0.1", second.port)
        caught_up(middle, last)
        write_some(master, 5)
        caught_up(master, last)
        assert contents(last) == contents(middle) == contents(master)
        # The middle one dies: the last one goes on with the first, in the same history.
        second.kill()
        write_some(master, 6)
        full = information(master, "stats")["sync_full"]
        last.ask("REPLICAOF", "127.0.0.1", first.port)
        caught_up(master, last)
        assert contents(last) == contents(master)
        assert information(master, "stats")["sync_full"] == full


@pytest.mark.parametrize("kinds", [("redoubt", "redis"), ("redis", "redoubt")], ids="-over-".join)
def test_siblings_of_both_kinds_continue_after_a_failover(kinds):
    with redis_process(*NOW) as old, SERVERS[kinds[0]](*NOW) as new, SERVERS[kinds[1]](*NOW) as sibling:
        master, successor, other = old.connect(), new.connect(), sibling.connect()
        fill(master, 100)
        for replica in (successor, other):
            replica.ask("REPLICAOF", "127.0.0.1", old.port)
            caught_up(master, replica)
        write_some(master, 7)
        caught_up(master, successor)
        caught_up(master, other)
        old.kill()
        successor.ask("REPLICAOF", "NO", "ONE")
        successor.ask("SET", "after", "1")
        other.ask("REPLICAOF", "127.0.0.1", new.port)
        caught_up(successor, other)
        assert contents(other) == contents(successor)
        assert information(successor, "stats")["sync_full"] == "0"
        assert information(successor, "stats")["sync_partial_ok"] == "1"


def test_a_replica_survives_its_master_killed_during_the_copy():
    with server_process(*NOW) as first, server_process(*NOW) as second, server_process(*NOW) as third:
        small, big, replica = first.connect(), second.connect(), third.connect()
        fill(small, 100)
        for start in range(0, 200_000, 1000):
            big.ask("MSET", *[word for i in range(start, start + 1000) for word in (f"k{i}", f"{i}" * 20)])
        replica.ask("REPLICAOF", "127.0.0.1", first.port)
        caught_up(small, replica)
        replica.ask("REPLICAOF", "127.0.0.1", second.port)
        until(lambda: information(replica)["master_sync_in_progress"] == "1", "the copy has begun")
        second.kill()
        until(lambda: information(replica)["master_sync_in_progress"] == "0", "the link is lost")
        assert contents(replica) == contents(small)
