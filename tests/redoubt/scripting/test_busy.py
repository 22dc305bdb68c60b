"""A script that runs for too long, in real processes: who is answered what, and how it ends.

Each case runs against Redoubt and, where there is one, against a real redis-server: the answers are the same.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from bench.ports import free_port
from redoubt.resp.replies import ErrorReply, SimpleString, encode_command
from tests.redoubt.harness import Connection, ServerProcess, redis_process, server_process

pytestmark = pytest.mark.process

OK = SimpleString(b"OK")
THRESHOLD_MS = 100
PATIENCE_S = 20.0
BUSY_SCRIPT = ErrorReply(
    b"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
)
BUSY_FUNCTION = ErrorReply(
    b"BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
)
KINDS = {"redoubt": server_process, "redis": redis_process}


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    if request.param == "redis" and shutil.which("redis-server") is None:
        pytest.skip("needs a redis-server to compare with")
    make: Callable[..., Any] = KINDS[request.param]
    with make("--busy-reply-threshold", str(THRESHOLD_MS)) as process:
        yield process


class Running:
    """A command that runs in a thread of its own; `reply` waits for its end."""

    def __init__(self, server: ServerProcess, *words: str) -> None:
        self.connection = server.connect()
        self.replies: list[Any] = []
        self.words = words
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        try:
            self.replies.append(self.connection.ask(*self.words))
        except ConnectionError as error:
            self.replies.append(error)

    def reply(self) -> Any:
        self.thread.join(PATIENCE_S)
        return self.replies[0]


def ask_until_busy(connection: Connection, expected: ErrorReply, key: str = "k") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while connection.ask("GET", key) != expected:
        assert time.monotonic() < deadline, "the script never became busy"


def test_others_are_told_and_may_end_the_script(server: ServerProcess) -> None:
    before = server.connect()
    before.ask("SET", "k", "v")
    running = Running(server, "EVAL", "while true do end", "0")
    ask_until_busy(before, BUSY_SCRIPT)
    fresh = server.connect()  # accepted while the script runs
    assert fresh.ask("PING") == BUSY_SCRIPT
    assert fresh.ask("SHUTDOWN") == BUSY_SCRIPT
    assert fresh.ask("FUNCTION", "KILL") == BUSY_SCRIPT
    assert fresh.ask("FUNCTION", "STATS") == BUSY_SCRIPT
    assert fresh.ask("SCRIPT", "KILL") == OK
    reply = running.reply()
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"ERR Script killed by user with SCRIPT KILL... script: ")
    assert reply.text.endswith(b", on @user_script:1.")
    for connection in (before, fresh, server.connect()):
        assert connection.ask("GET", "k") == b"v"
    assert fresh.ask("SCRIPT", "KILL") == ErrorReply(b"NOTBUSY No scripts in execution right now.")


@pytest.mark.parametrize(
    "source",
    [
        "while true do pcall(function() while true do end end) end",
        "local co = coroutine.wrap(function() while true do end end) co()",
        "local co = coroutine.create(function() while 1 do end end) while 1 do coroutine.resume(co) end",
        "while true do xpcall(function() while true do end end, function() end) end",
        "while true do redis.pcall('get', 'k') end",
        "table.sort({3, 2, 1}, function() while true do end end)",
    ],
)
def test_a_script_cannot_dodge_its_end(server: ServerProcess, source: str) -> None:
    other = server.connect()
    running = Running(server, "EVAL", source, "0")
    ask_until_busy(other, BUSY_SCRIPT)
    assert other.ask("SCRIPT", "KILL") == OK
    assert isinstance(running.reply(), ErrorReply)
    assert other.ask("EVAL", "return 1", 0) == 1


def test_a_function_is_ended_as_a_function(server: ServerProcess) -> None:
    other = server.connect()
    code = "#!lua name=l\nredis.register_function('f', function() while true do end end)"
    other.ask("FUNCTION", "LOAD", code)
    running = Running(server, "FCALL", "f", "0")
    ask_until_busy(other, BUSY_FUNCTION)
    assert other.ask("SCRIPT", "KILL") == BUSY_FUNCTION
    stats = other.ask("FUNCTION", "STATS")
    assert stats[1][:4] == [b"name", b"f", b"command", [b"FCALL", b"f", b"0"]]
    assert stats[1][5] >= THRESHOLD_MS
    assert other.ask("FUNCTION", "KILL") == OK
    assert isinstance(running.reply(), ErrorReply)
    assert other.ask("FUNCTION", "STATS")[1] is None


def test_a_library_that_does_not_end_is_not_loaded(server: ServerProcess) -> None:
    reply = server.connect().ask("FUNCTION", "LOAD", "#!lua name=l\nwhile true do end")
    assert reply == ErrorReply(b"ERR Error registering functions: ERR FUNCTION LOAD timeout")


def test_a_script_that_has_written_ends_only_with_the_process(server: ServerProcess) -> None:
    other = server.connect()
    running = Running(server, "EVAL", "redis.call('set', 'k', 'v') while true do end", "0")
    ask_until_busy(other, BUSY_SCRIPT)
    reply = other.ask("SCRIPT", "KILL")
    assert isinstance(reply, ErrorReply) and reply.text.startswith(b"UNKILLABLE Sorry the script already")
    other.send(b"SHUTDOWN NOSAVE\r\n")
    other.read_to_end()
    assert server.process.wait(PATIENCE_S) == 0
    running.thread.join(PATIENCE_S)


def test_what_a_client_sent_meanwhile_is_run_afterwards(server: ServerProcess) -> None:
    other = server.connect()
    running = Running(server, "EVAL", "local n = 0 for i = 1, 2e8 do n = n + 1 end return n", "0")
    ask_until_busy(other, BUSY_SCRIPT)
    assert other.ask("MULTI") == OK
    other.ask("DISCARD")
    assert running.reply() == 200_000_000
    assert other.ask("SET", "k", "v") == OK


def test_a_reply_of_the_same_turn_does_not_wait_for_the_script() -> None:
    with server_process("--busy-reply-threshold", str(THRESHOLD_MS)) as server:
        first, second = server.connect(), server.connect()
        # While the process sleeps both commands arrive, and are then run in one turn.
        sleeper = server.connect()
        sleeper.ask("SET", "k", "v")
        server.process.send_signal(signal.SIGSTOP)
        first.send(b"INCR n\r\n")
        second.send(encode_command([b"EVAL", b"while true do end", b"0"]))
        server.process.send_signal(signal.SIGCONT)
        assert first.read() == 1
        assert sleeper.ask("SCRIPT", "KILL") == OK
        assert isinstance(second.read(), ErrorReply)


def test_what_is_answered_while_a_script_runs_is_in_the_append_only_file() -> None:
    words = ("--busy-reply-threshold", str(THRESHOLD_MS), "--appendonly", "yes", "--appendfsync", "always")
    with server_process(*words) as server:
        first, second, killer = server.connect(), server.connect(), server.connect()
        killer.ask("SET", "k", "v")
        server.process.send_signal(signal.SIGSTOP)  # so that both are run in one turn
        first.send(b"INCR counted\r\n")
        second.send(encode_command([b"EVAL", b"while true do end", b"0"]))
        server.process.send_signal(signal.SIGCONT)
        assert first.read() == 1
        written = b"".join(
            path.read_bytes() for path in Path(server.directory).glob("appendonlydir/*.incr.aof")
        )
        assert b"counted" in written
        assert killer.ask("SCRIPT", "KILL") == OK
        assert isinstance(second.read(), ErrorReply)


OF_FIRST_NODE = "{06S}"  # slot 0
ENDLESS = ("EVAL", "while true do end", "0")


def ask_health(port: int, path: str) -> tuple[int, bytes]:
    """Ask as a kubelet does: anew if a probe gets no answer, as one that arrives with the script itself."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except TimeoutError:
            assert time.monotonic() < deadline
        finally:
            connection.close()


def test_the_health_port_answers_long_before_other_clients_are_served() -> None:
    health_port = free_port()
    words = ("--busy-reply-threshold", "6000", "--metrics-port", str(health_port))
    with server_process(*words) as server:
        other = server.connect()
        running = Running(server, *ENDLESS)
        began = time.monotonic()
        for _ in range(3):
            assert ask_health(health_port, "/livez") == (200, b"ok\n")
            assert ask_health(health_port, "/readyz") == (200, b"ok\n")
            status, figures = ask_health(health_port, "/metrics")
            assert status == 200 and b"redis_up 1" in figures
        assert time.monotonic() - began < 6, "the others are served, too, by now"
        ask_until_busy(other, BUSY_SCRIPT)
        assert ask_health(health_port, "/livez")[0] == 200
        assert other.ask("SCRIPT", "KILL") == OK
        assert isinstance(running.reply(), ErrorReply)
        assert ask_health(health_port, "/livez")[0] == 200


def form_cluster(stack: ExitStack, *words: str) -> list[ServerProcess]:
    """Start three masters that share the slots and know each other."""
    nodes: list[ServerProcess] = []
    for place in range(3):
        bus = str(free_port())
        own = ("--cluster-enabled", "yes", "--cluster-port", bus, "--bind", "127.0.0.1", *words)
        node = stack.enter_context(server_process(*own))
        first, past = 16384 * place // 3, 16384 * (place + 1) // 3
        node.connect().ask("CLUSTER", "ADDSLOTSRANGE", first, past - 1)
        for known in nodes:
            known.connect().ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        nodes.append(node)
    deadline = time.monotonic() + PATIENCE_S
    for node in nodes:
        while b"cluster_state:ok" not in node.connect().ask("CLUSTER", "INFO"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return nodes


def test_a_busy_master_is_not_failed_by_the_others() -> None:
    with ExitStack() as stack:
        nodes = form_cluster(stack, "--cluster-node-timeout", "1000", "--busy-reply-threshold", "2500")
        running = Running(nodes[0], *ENDLESS)
        watch = [node.connect() for node in nodes[1:]]
        until = time.monotonic() + 4
        while time.monotonic() < until:
            for connection in watch:
                lines = connection.ask("CLUSTER", "NODES")
                assert b"fail" not in lines, lines
            time.sleep(0.05)
        killer = nodes[0].connect()
        assert killer.ask("SCRIPT", "KILL") == OK
        assert isinstance(running.reply(), ErrorReply)
        deadline = time.monotonic() + PATIENCE_S
        while killer.ask("SET", OF_FIRST_NODE, "v") != OK:
            assert time.monotonic() < deadline


def test_what_the_bus_brings_while_a_script_runs_is_taken_in_afterwards() -> None:
    with ExitStack() as stack:
        nodes = form_cluster(stack, "--busy-reply-threshold", "200")
        listener, sender, killer = nodes[0].connect(), nodes[1].connect(), nodes[0].connect()
        listener.ask("SUBSCRIBE", "news")
        running = Running(nodes[0], *ENDLESS)
        ask_until_busy(killer, BUSY_SCRIPT, OF_FIRST_NODE)
        for number in range(5):
            sender.ask("PUBLISH", "news", str(number))
        time.sleep(0.5)  # it lies in a buffer of the node that runs the script by now
        assert killer.ask("SCRIPT", "KILL") == OK
        assert isinstance(running.reply(), ErrorReply)
        assert [listener.read()[2] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
