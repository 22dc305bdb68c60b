"""SORT: what is stored and propagated, what clusters and restricted users may not ask, odd numbers."""

from __future__ import annotations

import pytest

from redoubt.commands.sort import sort_keys
from redoubt.data.memory import size_of
from redoubt.resp.replies import OK, ErrorReply
from tests.redoubt.commands.recorded import Recorded

NOT_NUMBERS = ErrorReply(b"ERR One or more scores can't be converted into double")


def filled(*words: str) -> Recorded:
    recorded = Recorded(*words)
    for line in ("RPUSH l 3 1 2", "SADD s c a b", "MSET w1 9 w2 8 w3 7", "SET old v"):
        recorded.ask(line)
    return recorded


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("SORT l", []),
        ("SORT_RO l", []),
        ("SORT l STORE d", ["RPUSH d 1 2 3"]),
        ("SORT l BY w* STORE d", ["RPUSH d 3 2 1"]),
        ("SORT l BY w* GET w* GET # LIMIT 0 1 STORE old", ["DEL old", "RPUSH old 7 3"]),
        ("SORT s BY nosort STORE d", ["RPUSH d a b c"]),
        ("SORT l LIMIT 9 9 STORE old", ["DEL old"]),
        ("SORT missing STORE nope", []),
        ("SORT l GET nope* LIMIT 0 1 STORE d", ["RPUSH d "]),
    ],
)
def test_what_is_stored_is_propagated_as_it_came_out(line: str, propagated: list[str]) -> None:
    lines = filled().propagates(line)
    wrapped = [each for each in lines if each not in ("MULTI", "EXEC")]
    assert wrapped == propagated


def test_the_sum_of_sizes_follows_what_is_stored() -> None:
    recorded = filled()
    keyspace = recorded.harness.node.state.keyspaces[0]
    for line in ("SORT l STORE old", "SORT l STORE l", "SORT l LIMIT 9 9 STORE old", "SORT s ALPHA STORE s"):
        assert not isinstance(recorded.ask(line), ErrorReply)
        values = [keyspace.get(key) for key in keyspace.all_keys()]
        assert keyspace.value_bytes == sum(size_of(value) for value in values if value is not None)


@pytest.mark.parametrize("word", ["w*", "{m}w*", "{}{l}*", "w*{l}", "{l*}", "?{l}*", r"\{l}*"])
def test_a_cluster_sorts_by_no_keys_of_other_slots(word: str) -> None:
    recorded = Recorded("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    recorded.ask("CLUSTER ADDSLOTSRANGE 0 16383")
    recorded.harness.advance(5000)
    assert recorded.ask("RPUSH {l} 2 1") == 2
    denied = (
        b"ERR %s option of SORT denied in Cluster mode when keys formed by the pattern may be in"
        b" different slots."
    )
    for name in ("SORT", "SORT_RO"):
        assert recorded.ask(f"{name} {{l}} BY {word}") == ErrorReply(denied % b"BY")
        assert recorded.ask(f"{name} {{l}} GET {word}") == ErrorReply(denied % b"GET")
    assert recorded.ask("MSET {l}w1 9 {l}w2 8") == OK
    assert recorded.ask("SORT {l} BY {l}w* GET # GET {l}w*") == [b"2", b"8", b"1", b"9"]
    assert recorded.ask("SORT {l} BY nosort") == [b"2", b"1"]
    assert recorded.ask("SORT {l} STORE {l}d") == 2
    assert recorded.ask("SORT {l} STORE other") == ErrorReply(
        b"CROSSSLOT Keys in request don't hash to the same slot"
    )


def test_a_user_of_some_keys_sorts_by_no_others() -> None:
    recorded = filled()
    recorded.ask("ACL SETUSER some on nopass +@all ~l ~d* %R~s")
    recorded.ask("AUTH some x")
    denied = b"ERR %s option of SORT denied due to insufficient ACL permissions."
    assert recorded.ask("SORT l BY w*") == ErrorReply(denied % b"BY")
    assert recorded.ask("SORT l GET w*") == ErrorReply(denied % b"GET")
    assert recorded.ask("SORT l STORE d") == 3
    assert recorded.ask("SORT s ALPHA") == [b"a", b"b", b"c"]
    refused = recorded.ask("SORT l STORE s")
    assert isinstance(refused, ErrorReply) and refused.text.startswith(b"NOPERM")


@pytest.mark.parametrize(
    ("words", "sorted_words"),
    [
        ([b"10", b"9", b"-1", b"1.5"], [b"-1", b"1.5", b"9", b"10"]),
        ([b"inf", b"-inf", b"0"], [b"-inf", b"0", b"inf"]),
        ([b" 2", b"0x1", b""], [b"", b"0x1", b" 2"]),
        ([b"b", b"1"], NOT_NUMBERS),
        ([b"nan"], NOT_NUMBERS),
        ([b"1e400"], NOT_NUMBERS),
        ([b"1e-400"], NOT_NUMBERS),
        ([b"1 "], NOT_NUMBERS),
    ],
)
def test_elements_are_numbers_as_c_reads_them(words: list[bytes], sorted_words: object) -> None:
    recorded = Recorded()
    recorded.client.ask("RPUSH", "l", *words)
    assert recorded.ask("SORT l") == sorted_words


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("SORT l", ["l"]),
        ("SORT l STORE d", ["l", "d"]),
        ("SORT l BY STORE LIMIT 1 2 STORE d STORE e", ["l", "e"]),
        ("SORT l GET STORE store d", ["l", "d"]),
        ("SORT l STORE", ["l"]),
        ("SORT_RO l BY w*", ["l"]),
    ],
)
def test_the_keys_of_a_call_are_found_behind_other_options(line: str, keys: list[str]) -> None:
    assert sort_keys(line.encode().split()) == [key.encode() for key in keys]
