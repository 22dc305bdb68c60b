"""ACL against a real server: generated users and calls, and directed lines, in RESP2 and RESP3."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import redoubt.node  # noqa: F401 - declares every command
from redoubt.access.selector import every_row
from redoubt.commands.declare import CONTAINERS
from redoubt.resp.replies import MapReply
from tests.differential.pair import Pair
from tests.differential.users import CALLS, RULES, USERS
from tests.judges import judge_program
from tests.redoubt.harness import ServerProcess, redis_process, server_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

LINES = r"""
ACL
ACL NOSUCH
ACL WHOAMI
ACL USERS
ACL LIST
ACL CAT nosuch
ACL GENPASS 0
ACL GENPASS 4097
ACL GENPASS x
ACL GENPASS 1 2
ACL GETUSER nobody
ACL GETUSER default
ACL SETUSER "a b"
ACL SETUSER alice on >secret +@all -@dangerous ~k:* %R~r:* resetchannels &news.*
ACL GETUSER alice
ACL SETUSER alice (+get ~x) "(+set %W~y)"
ACL SETUSER alice (+get ~x
ACL SETUSER alice (+get (
ACL SETUSER alice +nosuch
ACL SETUSER alice -@nosuch
ACL SETUSER alice ~* ~x
ACL SETUSER alice &* &x
ACL SETUSER alice <wrong
ACL SETUSER alice !123
ACL SETUSER alice +config|get|port
ACL SETUSER alice +get|
ACL SETUSER alice what
ACL SETUSER alice +config|nosuch
ACL SETUSER alice -config|get +config|get +config -config|set
ACL LIST
ACL DRYRUN nobody GET k
ACL DRYRUN alice NOSUCH k
ACL DRYRUN alice GET
ACL DRYRUN alice GET k:1
ACL DRYRUN alice GET q
ACL DRYRUN alice SET r:1 v
ACL DRYRUN alice FLUSHALL
ACL DRYRUN alice PUBLISH news.x m
ACL DRYRUN alice PUBLISH other m
ACL DRYRUN alice PSUBSCRIBE news.*
ACL DRYRUN alice PSUBSCRIBE news.x
ACL DRYRUN alice
AUTH alice wrong
AUTH alice secret
ACL WHOAMI
GET q
GET k:1
SET r:1 v
SUBSCRIBE other
ACL LIST
HELLO 2 AUTH default anything
CLIENT KILL USER nobody
ACL SETUSER default >pass
AUTH pass
AUTH wrong
ACL SETUSER default nopass
AUTH pass
MULTI
ACL WHOAMI
GET k
EXEC
AUTH alice secret
MULTI
SET q v
EXEC
HELLO 2 AUTH default anything
ACL DELUSER default
ACL DELUSER
ACL DELUSER alice nobody
ACL DELUSER alice
AUTH alice secret
ACL LOG x
ACL LOG 1 2
ACL LOG RESET
ACL LOG
CONFIG SET acl-pubsub-default allchannels
ACL SETUSER carol
ACL SETUSER carol (+get)
ACL GETUSER carol
ACL SETUSER carol reset
ACL LIST
CONFIG SET acl-pubsub-default resetchannels
ACL SETUSER carol reset
ACL GETUSER carol
CONFIG SET acl-pubsub-default other
CONFIG SET acllog-max-len -1
ACL DELUSER carol
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with redis_process(program=judge_program("valkey-8.1")) as judge, server_process() as ours:
        yield judge, ours


@pytest.mark.parametrize("resp", [2, 3])
def test_every_line_is_answered_alike(servers: tuple[ServerProcess, ServerProcess], resp: int) -> None:
    pair = Pair(*servers, resp)
    for line in LINES.strip().splitlines():
        if line.startswith("HELLO"):  # what it says of the server is the server's own
            pair.both(line.replace("HELLO 2", f"HELLO {resp}").encode().split())
        else:
            pair.compare(*shlex.split(line))
    pair.close()


def test_without_a_file_there_is_nothing_to_load_or_to_save() -> None:
    with redis_process() as judge, server_process() as ours:
        pair = Pair(judge, ours)
        pair.compare("ACL", "LOAD")
        pair.compare("ACL", "SAVE")
        pair.close()


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(USERS, RULES), min_size=1, max_size=4), st.lists(CALLS, min_size=1, max_size=10))
def test_generated_users_are_shown_and_permitted_alike(
    servers: tuple[ServerProcess, ServerProcess],
    changes: list[tuple[bytes, list[bytes]]],
    calls: list[list[bytes]],
) -> None:
    pair = Pair(*servers, 3)
    try:
        for name, rules in changes:
            # Who asks is `default`: a rule that takes its permissions would end the test.
            username = b"alice" if name == b"default" else name
            pair.compare(b"ACL", b"SETUSER", username, *rules)
            pair.compare(b"ACL", b"GETUSER", username)
        pair.compare(b"ACL", b"LIST")
        for call in calls:
            for username in (b"alice", b"bob"):
                pair.compare(b"ACL", b"DRYRUN", username, *call)
        pair.compare(b"ACL", b"DELUSER", b"alice", b"bob", b"nobody")
    finally:
        pair.close()


def log_without_clients(reply: Any) -> list[dict[Any, Any]]:
    """Take from each entry what is the same on any server."""
    entries = [dict(entry.pairs) for entry in reply if isinstance(entry, MapReply)]
    return [
        {name: entry[name] for name in (b"count", b"reason", b"context", b"object", b"username")}
        for entry in entries
    ]


def test_refusals_are_logged_and_grouped_alike(servers: tuple[ServerProcess, ServerProcess]) -> None:
    pair = Pair(*servers, 3)
    guest = Pair(*servers, 3)
    pair.compare("ACL", "SETUSER", "guest", "on", ">pw", "+get", "+multi", "+exec", "+publish", "~k*", "&c")
    pair.compare("ACL", "LOG", "RESET")
    for line in ("AUTH guest no", "AUTH guest pw", "GET x", "GET x", "GET y", "SET k v", "PUBLISH d m",
                 "config get x", "MULTI", "GET x", "SET k v", "EXEC", "GET x"):  # fmt: skip
        guest.compare(*line.split())
    for count in ("3", "0", "-1", "100"):
        expected, found = pair.both([b"ACL", b"LOG", count.encode()])
        assert log_without_clients(found) == log_without_clients(expected)
        assert found == [] or list(dict(found[0].pairs)) == list(dict(expected[0].pairs))
    pair.compare("ACL", "DELUSER", "guest")
    for connection in (guest.judge, guest.ours):
        with pytest.raises(ConnectionError):
            connection.ask("PING")
    pair.close()


# The judge takes COMMAND GETKEYS without arguments; PFMERGE without sources escapes its key patterns.
DECIDED_OTHERWISE = {"command|getkeys", "command|getkeysandflags", "pfmerge"}


def calls_of(name: str, arity: int) -> list[list[bytes]]:
    """Make calls of a command whose words are all 1, which is a number, a count and a key."""
    words = name.encode().split(b"|")
    return [words + [b"1"] * (abs(arity) - len(words) + extra) for extra in range(1 if arity > 0 else 4)]


def test_every_command_needs_the_same_permissions(servers: tuple[ServerProcess, ServerProcess]) -> None:
    pair = Pair(*servers, 3)
    users = {"reader": "%R~*", "writer": "%W~*", "neither": "~other", "both": "~1"}
    for username, keys in users.items():
        pair.compare("ACL", "SETUSER", username, "+@all", keys, "&other")
    known = {row.name for row in every_row() if row.name.encode() not in CONTAINERS}
    differing = {}
    listed = pair.judge.ask("COMMAND", "LIST", "FILTERBY", "PATTERN", "*")
    for name in sorted((known & {text.decode() for text in listed}) - DECIDED_OTHERWISE):
        arity = pair.judge.ask("COMMAND", "INFO", name)[0][1]
        for call in calls_of(name, arity):
            for username in users:
                expected, found = pair.both([b"ACL", b"DRYRUN", username.encode(), *call])
                if expected != found:
                    differing[username, b" ".join(call)] = (expected, found)
    pair.compare("ACL", "DELUSER", *users)
    pair.close()
    assert not differing
