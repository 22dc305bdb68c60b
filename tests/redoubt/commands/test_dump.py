"""DUMP and RESTORE: expiry on arrival, what a replica is told, and the account of how a key was used."""

from __future__ import annotations

import pytest

from redoubt.persist.checksum import crc64
from redoubt.persist.payload import dump
from redoubt.resp.replies import OK, ErrorReply
from tests.redoubt.commands.recorded import Recorded
from tests.redoubt.harness import START_MS

PAYLOAD = dump(b"value")


def restore(
    recorded: Recorded, *options: str | int, key: str = "k", ttl: int = 0
) -> tuple[object, list[bytes]]:
    """Run RESTORE; return its reply and what was propagated."""
    fed: list[list[bytes]] = []
    recorded.propagation.feed = lambda database, argv: fed.append(argv)  # type: ignore[method-assign]
    reply = recorded.client.ask("RESTORE", key, ttl, PAYLOAD, *options)
    return reply, fed[0] if fed else []


@pytest.mark.parametrize(
    ("ttl", "options", "due", "propagated"),
    [
        (0, [], -1, []),
        (0, ["ABSTTL"], -1, []),
        (5000, [], START_MS + 5000, [b"ABSTTL"]),
        (5000, ["REPLACE"], START_MS + 5000, [b"REPLACE", b"ABSTTL"]),
        (START_MS + 7, ["ABSTTL"], START_MS + 7, [b"ABSTTL"]),
        (0, ["idletime", 9], -1, [b"IDLETIME", b"9"]),
        (0, ["FREQ", 255], -1, [b"FREQ", b"255"]),
    ],
)
def test_the_expiry_is_propagated_as_an_absolute_time(
    ttl: int, options: list[str | int], due: int, propagated: list[bytes]
) -> None:
    recorded = Recorded()
    reply, fed = restore(recorded, *options, ttl=ttl)
    assert reply is OK or reply == OK
    assert recorded.ask("GET k") == b"value"
    assert recorded.ask("PEXPIRETIME k") == due
    assert fed == [b"RESTORE", b"k", b"%d" % max(due, 0), PAYLOAD, *propagated]


def test_a_key_that_has_expired_on_the_way_is_not_made_and_deletes_what_it_replaces() -> None:
    recorded = Recorded()
    assert restore(recorded, "ABSTTL", ttl=START_MS) == (OK, [])
    assert recorded.ask("EXISTS k") == 0
    recorded.ask("SET k old")
    assert restore(recorded, "ABSTTL", "REPLACE", ttl=START_MS - 1) == (OK, [b"DEL", b"k"])
    assert recorded.ask("EXISTS k") == 0


def test_a_payload_of_a_newer_format_is_propagated_in_ours() -> None:
    recorded = Recorded()
    body = PAYLOAD[:-10] + (80).to_bytes(2, "little")
    newer = body + crc64(body).to_bytes(8, "little")
    fed: list[list[bytes]] = []
    recorded.propagation.feed = lambda database, argv: fed.append(argv)  # type: ignore[method-assign]
    assert recorded.client.ask("RESTORE", "k", 0, newer) == OK
    assert fed == [[b"RESTORE", b"k", b"0", PAYLOAD]]


def test_nothing_changes_where_restore_is_refused() -> None:
    recorded = Recorded()
    recorded.ask("SET k old")
    assert restore(recorded) == (ErrorReply(b"BUSYKEY Target key name already exists."), [])
    assert restore(recorded, "REPLACE", ttl=-1) == (ErrorReply(b"ERR Invalid TTL value, must be >= 0"), [])
    wrong = recorded.client.ask("RESTORE", "k", 0, PAYLOAD[:-1] + b"?", "REPLACE")
    assert wrong == ErrorReply(b"ERR DUMP payload version or checksum are wrong")
    assert recorded.ask("GET k") == b"old"


def test_idle_time_and_frequency_are_taken_over() -> None:
    recorded = Recorded()
    restore(recorded, "IDLETIME", 1000)
    assert recorded.ask("OBJECT IDLETIME k") == 1000
    # Beside other keys, the bucket was used now: the key only goes to the front, to be evicted first.
    recorded.ask("SET other v")
    restore(recorded, "IDLETIME", 1000, key="late")
    bucket = recorded.harness.node.state.keyspaces[0].bucket_of(b"late")
    assert bucket is not None and next(iter(bucket.values)) == b"late"
    recorded.ask("CONFIG SET maxmemory-policy allkeys-lfu")
    restore(recorded, "FREQ", 77, key="often")
    assert recorded.ask("OBJECT FREQ often") == 77


def test_dump_of_a_missing_or_expired_key_is_nothing() -> None:
    recorded = Recorded()
    assert recorded.ask("DUMP k") is None
    recorded.ask("SET k value PX 5")
    assert recorded.ask("DUMP k") == PAYLOAD
    recorded.harness.now_ms += 6
    assert recorded.ask("DUMP k") is None
