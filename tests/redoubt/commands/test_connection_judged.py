"""The connection and server commands against a real redis-server: the same words, the same answers."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from redoubt.resp.replies import MapReply
from tests.redoubt.harness import Connection, ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

LINES = r"""
PING
PING hello
PING a b
ECHO a
ECHO
SELECT x
SELECT 99
SELECT 3
SELECT -1
SELECT 0
AUTH a b c
AUTH a
AUTH default anything
AUTH stranger x
HELLO 4
HELLO x
HELLO 2 foo
HELLO 2 AUTH a
HELLO 2 SETNAME
HELLO 2 AUTH stranger x SETNAME y
NOSUCH
NOSUCH a b "c d"
config
CONFIG NOSUCH
cOnFiG gEt maxmemory
CLIENT
CLIENT NOSUCH
CLIENT SETNAME "a b"
CLIENT SETNAME "a\nb"
CLIENT SETNAME name
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT KILL 1.1.1.1:1
CLIENT KILL ID x
CLIENT KILL ID 0
CLIENT KILL ID 99999
CLIENT KILL TYPE foo
CLIENT KILL USER foo
CLIENT KILL foo bar
CLIENT KILL ADDR 1:1 SKIPME
CLIENT KILL ADDR 1:1 SKIPME x
CLIENT KILL ADDR 1:1 SKIPME no
CLIENT KILL TYPE normal LADDR 1:1
CLIENT KILL TYPE slave
CLIENT LIST TYPE x
CLIENT LIST ID
CLIENT LIST ID 1 a
CLIENT LIST ID 99999
CLIENT LIST TYPE replica
CLIENT LIST foo
CLIENT PAUSE a
CLIENT PAUSE -1
CLIENT PAUSE 1 foo
CLIENT PAUSE 1 WRITE extra
CLIENT UNPAUSE
CLIENT UNBLOCK a
CLIENT UNBLOCK 99999
CLIENT UNBLOCK 3 foo
CLIENT REPLY foo
CLIENT REPLY ON
CLIENT NO-EVICT foo
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT INFO x
CONFIG GET nosuch
CONFIG GET maxmemory
CONFIG SET nosuch 1
CONFIG SET maxmemory
CONFIG SET maxmemory 1x
CONFIG SET maxmemory -1
CONFIG SET maxmemory 100mb maxmemory 2
CONFIG SET databases 3
CONFIG SET maxmemory 100mb maxclients x
CONFIG GET maxmemory
CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru
CONFIG GET maxmemory-p*
CONFIG SET maxmemory 0 maxmemory-policy noeviction
CONFIG SET maxmemory-policy foo
CONFIG SET save "a b"
CONFIG SET save 5
CONFIG SET save "3600 1 60 10"
CONFIG GET save
CONFIG SET save ""
CONFIG GET save
CONFIG SET client-output-buffer-limit normal
CONFIG SET client-output-buffer-limit "normal 1mb 2k 3"
CONFIG GET client-output-buffer-limit
CONFIG SET client-output-buffer-limit "foo 0 0 0"
CONFIG SET maxclients 0
CONFIG SET protected-mode 1
CONFIG SET dbfilename a/b
CONFIG SET min-slaves-to-write 1
CONFIG GET min-replicas-to-write
CONFIG SET min-replicas-to-write 0
CONFIG RESETSTAT x
CONFIG RESETSTAT
CONFIG SET requirepass secret
AUTH wrong
AUTH default wrong
AUTH secret
HELLO 2 AUTH default secret
CONFIG GET requirepass
CONFIG SET requirepass ""
TIME x
SHUTDOWN foo
SHUTDOWN ABORT
SHUTDOWN ABORT NOSAVE
SHUTDOWN SAVE NOSAVE
INFO nosuch
MEMORY
MEMORY NOSUCH
MEMORY USAGE
MEMORY USAGE nokey
MEMORY USAGE nokey SAMPLES
MEMORY USAGE nokey SAMPLES -1
MEMORY USAGE nokey foo 1
MEMORY PURGE
LATENCY
LATENCY HISTOGRAM nosuch
COMMAND NOSUCH
COMMAND INFO nosuch
COMMAND DOCS nosuch
COMMAND GETKEYS
COMMAND GETKEYS get
COMMAND GETKEYS nosuch a
COMMAND GETKEYS get a b
COMMAND GETKEYS get a
COMMAND GETKEYS ping x
COMMAND GETKEYS mset a 1 b 2
COMMAND GETKEYS mset a 1 b
COMMAND GETKEYS del a b c
COMMAND GETKEYSANDFLAGS append a b
COMMAND GETKEYSANDFLAGS rename a b
COMMAND GETKEYSANDFLAGS mset a 1 b 2
COMMAND GETKEYSANDFLAGS ping x
COMMAND LIST FILTERBY ACLCAT nosuch
COMMAND LIST FILTERBY MODULE nosuch
COMMAND LIST FILTERBY PATTERN MSETN*
COMMAND LIST FILTERBY foo x
COMMAND LIST FILTERBY
COMMAND LIST foo
DEBUG
DEBUG NOSUCH
DEBUG SLEEP
DEBUG SLEEP 0
DEBUG OBJECT nokey
DEBUG ERROR "FOO bar"
DEBUG SET-ACTIVE-EXPIRE 1
DEBUG PROTOCOL string
DEBUG PROTOCOL integer
DEBUG PROTOCOL double
DEBUG PROTOCOL null
DEBUG PROTOCOL array
DEBUG PROTOCOL set
DEBUG PROTOCOL map
DEBUG PROTOCOL bignum
DEBUG PROTOCOL verbatim
DEBUG PROTOCOL true
DEBUG PROTOCOL false
RESET
QUIT
""".strip().splitlines()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    words = ("--enable-debug-command", "yes", "--maxmemory", "0", "--maxclients", "1000")
    with redis_process(*words) as judge, server_process(*words) as ours:
        yield judge, ours


@pytest.mark.parametrize("resp", [2, 3])
def test_the_same_words_get_the_same_answers(servers: tuple[ServerProcess, ServerProcess], resp: int) -> None:
    judge, ours = (server.connect() for server in servers)
    for connection in (judge, ours):
        connection.ask("HELLO", resp)
    differing = []
    for line in LINES:
        words = [word.encode().decode("unicode_escape") for word in shlex.split(line)]
        expected, found = judge.ask(*words), ours.ask(*words)
        # HELLO 2 ends RESP3 where it succeeds; the names of versions differ.
        if words[0] == "HELLO" and isinstance(expected, list | MapReply):
            for connection in (judge, ours):
                connection.ask("HELLO", resp)
            expected = found if type(expected) is type(found) else expected
        if expected != found:
            differing.append((line, expected, found))
    assert differing == []


def fields(connection: Connection, section: str) -> list[str]:
    reply: Any = connection.ask("INFO", section)
    text = reply if isinstance(reply, bytes) else reply.text
    return [line.split(b":")[0].decode() for line in text.split(b"\r\n") if b":" in line]


# Fields of Redis's sections that readers of INFO know and that mean nothing here.
ABSENT = {
    "server": {"redis_build_id", "monotonic_clock", "atomicvar_api", "gcc_version"},
    "clients": {"cluster_connections"},
    "cpu": {"used_cpu_sys_main_thread", "used_cpu_user_main_thread"},
    "persistence": set(),
    "replication": set(),
    "cluster": set(),
    "stats": {
        "instantaneous_input_repl_kbps", "instantaneous_output_repl_kbps", "total_net_repl_input_bytes",
        "total_net_repl_output_bytes", "expired_stale_perc", "expired_time_cap_reached_count",
        "expire_cycle_cpu_milliseconds", "total_eviction_exceeded_time", "current_eviction_exceeded_time",
        "migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses",
        "active_defrag_key_hits", "active_defrag_key_misses", "total_active_defrag_time",
        "current_active_defrag_time", "tracking_total_items", "tracking_total_prefixes",
        "dump_payload_sanitizations", "io_threaded_reads_processed", "io_threaded_writes_processed",
        "reply_buffer_shrinks", "reply_buffer_expands",
    },
}  # fmt: skip


@pytest.mark.parametrize("section", ABSENT)
def test_info_has_redis_fields_in_redis_order(
    servers: tuple[ServerProcess, ServerProcess], section: str
) -> None:
    judge, ours = (server.connect() for server in servers)
    expected = [field for field in fields(judge, section) if field not in ABSENT[section]]
    found = fields(ours, section)
    assert [field for field in found if field in expected] == expected


def test_client_list_has_redis_fields_in_redis_order(servers: tuple[ServerProcess, ServerProcess]) -> None:
    judge, ours = (server.connect().ask("CLIENT", "INFO").decode() for server in servers)
    names = [[pair.split("=")[0] for pair in line.split()] for line in (judge, ours)]
    assert names[1] == [*names[0], "lib-name", "lib-ver"]  # 7.2 brought these two


def test_a_bare_info_has_the_sections_of_redis(servers: tuple[ServerProcess, ServerProcess]) -> None:
    for words in (("INFO",), ("INFO", "all"), ("INFO", "everything"), ("INFO", "cpu", "SERVER")):
        titles = []
        for server in servers:
            text = server.connect().ask(*words)
            titles.append([line for line in text.split(b"\r\n") if line.startswith(b"#")])
        assert titles[0] == titles[1], words


@pytest.mark.parametrize(
    "words",
    [
        ("--nosuch", "1"),
        ("--port",),
        ("--save", "3600"),
        ("--maxmemory", "foo"),
        ("--maxmemory-policy", "foo"),
        ("--client-output-buffer-limit", "normal", "0", "0"),
        ("--replicaof", "a"),
        ("--replicaof", "a", "b"),
        ("--dbfilename", "a/b"),
    ],
)
def test_a_wrong_directive_ends_the_start_with_redis_words(words: tuple[str, ...]) -> None:
    reasons = []
    for make in (redis_process, server_process):
        with pytest.raises(AssertionError) as error, make(*words):
            pass
        lines = str(error.value).replace("Redoubt", "Redis").splitlines()
        start = next(at for at, line in enumerate(lines) if "FATAL CONFIG FILE ERROR" in line)
        reasons.append(lines[start + 2 : start + 4])
    assert reasons[0] == reasons[1]
