"""Scripts as units of writing: what is propagated, what is refused where, what blocks no more."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from redoubt.resp.replies import ErrorReply, SimpleString, encode_command
from redoubt.scripting.sandbox import NESTING_MAX
from redoubt.session import GATE_DISK, GATE_MIN_REPLICAS, GATE_REPLICA, GATE_STALE
from tests.redoubt.cluster.test_routing import HALF, node
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import Harness
from tests.redoubt.replication.network import Network, follow, replication_of
from tests.redoubt.replication.test_units import history

ONE = "return redis.call('SET', KEYS[1], ARGV[1])"


def propagated(recorded: Recorded, *words: Any) -> list[str]:
    recorded.propagation.lines.clear()
    recorded.client.ask(*words)
    return list(recorded.propagation.lines)


def test_effects_are_propagated_and_never_the_script() -> None:
    recorded = Recorded()
    assert propagated(recorded, "EVAL", ONE, 1, "k", "v") == ["SET k v"]
    assert propagated(recorded, "EVAL", "return redis.call('get', 'k')", 0) == []
    two = "redis.call('sadd', 's', 'm') redis.call('incr', 'n') redis.call('spop', 's')"
    assert propagated(recorded, "EVAL", two, 0) == ["sadd s m", "incr n", "SREM s m"]


def test_what_a_failing_script_wrote_stays_and_is_propagated() -> None:
    recorded = Recorded()
    lines = propagated(recorded, "EVAL", "redis.call('set', 'a', 1) redis.call('incr', 'a', 'b')", 0)
    assert lines == ["set a 1"]
    assert recorded.ask("GET a") == b"1"


def test_replication_can_be_switched_off_and_on() -> None:
    recorded = Recorded()
    script = (
        "redis.set_repl(redis.REPL_NONE) redis.call('set', 'a', 1) redis.set_repl(redis.REPL_ALL) "
        "redis.call('set', 'b', 1) redis.set_repl(redis.REPL_AOF) redis.call('set', 'c', 1)"
    )
    assert propagated(recorded, "EVAL", script, 0) == ["set b 1"]
    assert recorded.client.ask("MGET", "a", "b", "c") == [b"1", b"1", b"1"]
    assert recorded.propagates("SET a 2") == ["SET a 2"]


def test_a_script_in_another_database_says_so() -> None:
    recorded = Recorded()
    script = (
        "redis.call('select', 3) redis.call('set', 'a', 1) redis.call('select', 0) redis.call('set', 'b', 1)"
    )
    assert propagated(recorded, "EVAL", script, 0) == ["3: set a 1", "set b 1"]
    assert recorded.client.ask("EXISTS", "a", "b") == 1


def test_a_script_inside_multi_belongs_to_the_transaction() -> None:
    recorded = Recorded()
    client = recorded.client
    client.ask("MULTI")
    assert client.ask("EVAL", ONE, 1, "k", "v") == SimpleString(b"QUEUED")
    client.ask("EVAL", "return redis.call('nope')", 0)
    reply = client.ask("EXEC")
    assert isinstance(reply, list) and reply[0] == SimpleString(b"OK") and isinstance(reply[1], ErrorReply)
    assert client.ask("GET", "k") == b"v"


def test_scripts_do_not_block_and_wake_who_does() -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("XADD", "stream", "1-1", "f", "v")
    read = "return redis.call('xread', 'block', 0, 'streams', 'stream', '1-1')"
    reply = client.ask("EVAL", read, 0)
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"ERR xread command is not allowed with BLOCK option from scripts")
    reply = client.ask("EVAL", "return redis.call('blpop', 'none', 0)", 0)
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"ERR This Redis command is not allowed from script")
    waiter = harness.connect()
    waiter.send(b"BLPOP list 0\r\n")
    assert (
        client.ask("EVAL", "redis.call('rpush', 'list', 'a', 'b') return redis.call('llen', 'list')", 0) == 2
    )
    assert waiter.replies() == [[b"list", b"a"]]


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        (GATE_REPLICA, b"READONLY You can't write against a read only replica."),
        (GATE_MIN_REPLICAS, b"NOREPLICAS Not enough good replicas to write."),
        (GATE_DISK, b"MISCONF"),
    ],
)
def test_where_writes_are_refused_a_script_may_still_read(gate: int, text: bytes) -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("SET", "k", "v")
    harness.node.state.set_gate(gate, True)
    assert client.ask("EVAL", "return redis.call('get', 'k')", 0) == b"v"
    assert client.ask("EVAL", "#!lua flags=no-writes\nreturn redis.call('get', 'k')", 0) == b"v"
    for script in (ONE, "#!lua\nreturn 1"):
        reply = client.ask("EVAL", script, 1, "k", "w")
        assert isinstance(reply, ErrorReply) and reply.text.startswith(text), reply


def test_a_stale_replica_runs_what_says_that_it_may() -> None:
    harness = Harness()
    client = harness.connect()
    harness.node.state.set_gate(GATE_STALE, True)
    for script in ("return 1", "#!lua\nreturn 1"):
        reply = client.ask("EVAL", script, 0)
        assert isinstance(reply, ErrorReply) and reply.text.startswith(b"MASTERDOWN")
    assert client.ask("EVAL", "#!lua flags=allow-stale,no-writes\nreturn 1", 0) == 1
    reply = client.ask("EVAL", "#!lua flags=allow-stale,no-writes\nreturn redis.call('get', 'k')", 0)
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"ERR Can not execute the command on a stale replica")


def test_memory_is_asked_for_before_the_first_write_only() -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("SET", "big", "x" * 100_000)
    client.ask("CONFIG", "SET", "maxmemory", "1000")
    assert client.ask("EVAL", "return redis.call('strlen', 'big')", 0) == 100_000
    reply = client.ask("EVAL", ONE, 1, "k", "v")
    assert isinstance(reply, ErrorReply) and reply.text.startswith(b"OOM command not allowed")
    # DEL needs no memory; once something is written, the script is not stopped in the middle.
    script = "redis.call('del', 'none') return redis.call('set', 'k', 'v')"
    assert client.ask("EVAL", script, 0) == SimpleString(b"OK")
    reply = client.ask("EVAL", "#!lua\nreturn 1", 0)
    assert isinstance(reply, ErrorReply) and reply.text.startswith(b"OOM")
    assert client.ask("EVAL", "#!lua flags=allow-oom\nreturn redis.call('set', 'k', 'w')", 0) == SimpleString(
        b"OK"
    )


def test_the_user_of_the_caller_may_do_no_more_in_a_script() -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("SET", "other", "v")
    client.ask("ACL", "SETUSER", "eve", "on", "nopass", "~own*", "+eval", "+get", "+set", "+acl|whoami")
    client.ask("AUTH", "eve", "x")
    assert client.ask("EVAL", "return redis.call('set', 'own1', 'v')", 0) == SimpleString(b"OK")
    reply = client.ask("EVAL", "return redis.call('get', 'other')", 0)
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"ERR ACL failure in script: No permissions to access a key script: ")
    reply = client.ask("EVAL", "return redis.call('del', 'own1')", 0)
    assert isinstance(reply, ErrorReply)
    assert b"User eve has no permissions to run the 'del' command" in reply.text
    script = "return {redis.acl_check_cmd('get', 'own1'), redis.acl_check_cmd('get', 'other')}"
    assert client.ask("EVAL", script, 0) == [1, None]


def test_more_arguments_than_the_stack_of_lua_holds() -> None:
    client = Harness().connect()
    words = [b"%d" % number for number in range(20_000)]
    reply = client.ask("EVAL", "return {#KEYS, #ARGV, KEYS[1], ARGV[10000]}", 10_000, *words)
    assert reply == [10_000, 10_000, b"0", b"19999"]
    client.ask("RPUSH", "list", *words)
    assert client.ask("EVAL", "return redis.call('lrange', 'list', 0, -1)", 0) == words
    assert client.ask("EVAL", "return #redis.call('lrange', 'list', 0, -1)", 0) == 20_000


def test_a_result_that_contains_itself_ends_somewhere() -> None:
    client = Harness().connect()
    data = client.send(encode_command([b"EVAL", b"local t = {} t[1] = t return t", b"0"]))
    assert data == b"*1\r\n" * NESTING_MAX + b"-ERR reached lua stack limit\r\n"


def test_the_script_keeps_its_moment() -> None:
    harness = Harness()
    client = harness.connect()
    client.ask("EVAL", "redis.call('set', 'k', 'v', 'px', 5)", 0)
    assert client.ask("PTTL", "k") == 5


def test_a_cluster_knows_only_its_own_keys() -> None:
    client = node(HALF)  # bar and hello are ours, foo is not
    assert client.ask("EVAL", ONE, 1, "bar", "v") == SimpleString(b"OK")
    reply = client.ask("EVAL", ONE, 1, "foo", "v")
    assert isinstance(reply, ErrorReply) and reply.text.startswith(b"MOVED 12182")
    assert client.ask("EVAL", ONE, 2, "bar", "hello") == ErrorReply(
        b"CROSSSLOT Keys in request don't hash to the same slot"
    )
    reply = client.ask("EVAL", "return redis.call('get', 'foo')", 0)
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"ERR Script attempted to access a non local key in a cluster node")
    reply = client.ask("EVAL", "return redis.call('mget', 'bar', 'hello')", 0)
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"ERR Script attempted to access keys that do not hash to the same slot")


def test_a_script_with_a_shebang_keeps_to_one_slot() -> None:
    client = node(HALF)
    several = "redis.call('get', 'bar') return redis.call('get', 'hello')"
    assert client.ask("EVAL", several, 0) is None
    reply = client.ask("EVAL", "#!lua\n" + several, 0)
    assert isinstance(reply, ErrorReply) and b"do not hash to the same slot" in reply.text
    reply = client.ask("EVAL", "#!lua\nreturn redis.call('get', 'hello')", 1, "bar")
    assert isinstance(reply, ErrorReply) and b"do not hash to the same slot" in reply.text
    assert client.ask("EVAL", "#!lua flags=allow-cross-slot-keys\n" + several, 0) is None
    reply = client.ask("EVAL", "#!lua flags=no-cluster\nreturn 1", 0)
    assert reply == ErrorReply(b"ERR Can not run script on cluster, 'no-cluster' flag is set.")


def test_replicas_get_what_a_script_wrote_as_one_transaction() -> None:
    network = Network()
    master, replica = network.add(7001), network.add(7002)
    follow(network, replica, 7001)
    client = master.connect()
    client.ask("SET", "a", "1")
    start = replication_of(master).offset
    client.ask("EVAL", "redis.call('set', 'a', 2) return redis.call('get', 'a')", 0)
    client.ask("EVAL", "redis.call('set', 'a', 3) redis.call('set', 'b', 3) error('x')", 0)
    client.ask("EVAL", "return redis.call('get', 'a')", 0)
    assert history(master, start) == ["set a 2", "MULTI", "set a 3", "set b 3", "EXEC"]
    network.settle()
    reader = replica.connect()
    assert reader.ask("EVAL", "return redis.call('mget', 'a', 'b')", 0) == [b"3", b"3"]
    reply = reader.ask("EVAL", "return redis.call('set', 'a', 4)", 0)
    assert isinstance(reply, ErrorReply) and reply.text.startswith(b"READONLY")


def test_a_flush_frees_the_lua_state_without_the_collector():
    """What has lived for long is never collected: forty seconds of flushes left fifty states behind."""

    def states() -> int:
        return sum(type(one).__name__ == "LuaRuntime" for one in gc.get_objects())

    client = Harness().connect()
    gc.collect()
    gc.disable()
    try:
        before = states()
        for _ in range(5):
            client.ask("EVAL", "return redis.call('SET', 'k', cjson.encode({1})) ", 0)
            code = "#!lua name=a\nredis.register_function('f', function() return 1 end)"
            client.ask("FUNCTION", "LOAD", code)
            client.ask("FCALL", "f", 0)
            client.ask("SCRIPT", "FLUSH")
            client.ask("FUNCTION", "FLUSH")
        assert states() == before
    finally:
        gc.enable()
