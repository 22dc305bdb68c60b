"""A target in the hands of a source that the test plays: what is hidden, what is shown, what is dropped."""

from __future__ import annotations

from redoubt.data.memory import used_memory
from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.cluster.movers import ME, NAME, OTHER, Source, keys_in, migrations_at, stage_of
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.harness import Client

FIRST, LAST = 5461, 6000
OK = SimpleString(b"OK")


def importing(*words: str) -> tuple[Stage, Source, Client]:
    stage = stage_of(*words)
    source = Source(stage)
    assert source.establish(FIRST, LAST) == [OK]
    return stage, source, stage.connect()


def switch(stage: Stage, source: Source) -> None:
    """Take the target through pause and grant."""
    source.say("SNAPSHOT-EOF")
    assert source.say("PAUSED", 1) == [[b"CLUSTER", b"SYNCSLOTS", b"READY", b"1"]]
    assert source.say("GRANT", 2)[0][2] == b"TAKEN"


def state_of(client: Client) -> tuple[bytes, bytes]:
    row = migrations_at(client)[0]
    assert isinstance(row["state"], bytes) and isinstance(row["message"], bytes)
    return row["state"], row["message"]


def test_arriving_keys_are_invisible_but_occupy_memory() -> None:
    stage, source, client = importing("--maxmemory-policy", "allkeys-lru")
    before = used_memory(stage.node.state.keyspaces)
    moving = keys_in(FIRST, LAST, 100)
    source.keys([(key, b"v" * 100, 0) for key in moving])
    assert client.ask("DBSIZE") == 0
    assert client.ask("KEYS", "*") == []
    assert client.ask("RANDOMKEY") is None
    assert client.ask("SCAN", 0, "COUNT", 1000) == [b"0", []]
    assert client.ask("CLUSTER", "COUNTKEYSINSLOT", FIRST) == 0
    moved = client.ask("GET", moving[0])
    assert isinstance(moved, ErrorReply) and moved.text.startswith(b"MOVED ")
    assert used_memory(stage.node.state.keyspaces) - before > 100 * 200


def test_every_batch_is_acknowledged_with_the_bytes_applied_so_far() -> None:
    _, source, _ = importing()
    (key,) = keys_in(FIRST, LAST, 1)
    first = source.keys([(key, b"v", 0)])[0]
    second = source.changes([b"SET", key, b"w"])[0]
    assert [first[2], second[2]] == [b"ACK", b"ACK"]
    assert int(second[3]) > int(first[3]) > 0


def test_the_switch_shows_snapshot_and_changes_together() -> None:
    stage, source, client = importing()
    kept, changed, deleted, born, dated = keys_in(FIRST, LAST, 5)
    due_ms = stage.now_ms + 60_000
    source.keys([(key, b"old", 0) for key in (kept, changed, deleted)] + [(dated, b"5", due_ms)])
    source.changes([b"SET", changed, b"new"], [b"DEL", deleted], [b"SET", born, b"1"], [b"INCR", dated])
    switch(stage, source)
    assert [client.ask("GET", key) for key in (kept, changed, deleted, born, dated)] == [
        b"old", b"new", None, b"1", b"6",
    ]  # fmt: skip
    assert client.ask("PEXPIRETIME", dated) == due_ms
    assert client.ask("DBSIZE") == 4
    assert state_of(client) == (b"success", b"")


def test_the_slots_are_owned_under_an_epoch_above_all() -> None:
    stage, source, _ = importing()
    switch(stage, source)
    myself = stage.cluster.topology.myself
    assert myself.config_epoch > 3
    assert all(myself.slots >> slot & 1 for slot in (0, 5460, FIRST, LAST))
    assert b"connected 0-6000\n" in stage.files["nodes.conf"]
    claims = [message.slots for message in stage.peers[OTHER].got]
    assert claims[-1] == myself.slots


def test_the_grant_is_remembered_until_a_majority_has_heard_of_the_new_owner() -> None:
    stage, source, _ = importing()
    switch(stage, source)
    assert f"redoubt-slot-takings {NAME}:{OTHER}:{ME}:2:{FIRST}-{LAST}".encode() in stage.files["nodes.conf"]
    stage.talk(3_000)
    assert b"redoubt-slot-takings" not in stage.files["nodes.conf"]


def test_keys_that_are_due_are_kept_until_the_slots_are_ours() -> None:
    stage, source, client = importing()
    gone, kept = keys_in(FIRST, LAST, 2)
    source.keys([(gone, b"1", stage.now_ms + 50), (kept, b"1", 0)])
    stage.talk(500)
    hidden = stage.node.state.keyspaces[0].arriving[0]
    assert hidden.key_count == 2
    # The source may still prolong what looks due from here.
    source.changes([b"PERSIST", gone])
    switch(stage, source)
    stage.talk(300)
    assert client.ask("MGET", gone) == [b"1"]


def test_a_flush_of_the_source_leaves_nothing_of_what_came_before() -> None:
    stage, source, client = importing()
    before, after = keys_in(FIRST, LAST, 2)
    source.keys([(before, b"1", 0)])
    source.changes([b"FLUSHALL"], [b"SET", after, b"2"])
    switch(stage, source)
    assert client.ask("DBSIZE") == 1
    assert client.ask("GET", after) == b"2"


def test_a_flush_of_the_target_concerns_its_own_keys_only() -> None:
    stage, source, client = importing()
    (mine,) = keys_in(0, 100, 1)
    (arriving,) = keys_in(FIRST, LAST, 1)
    source.keys([(arriving, b"1", 0)])
    assert client.ask("SET", mine, "1") == OK
    assert client.ask("FLUSHALL") == OK
    switch(stage, source)
    assert client.ask("DBSIZE") == 1


def test_a_source_that_goes_away_leaves_nothing() -> None:
    stage, source, client = importing()
    before = used_memory(stage.node.state.keyspaces)
    source.keys([(key, b"v" * 100, 0) for key in keys_in(FIRST, LAST, 200)])
    source.close()
    stage.talk(100)
    assert state_of(client)[0] == b"failed"
    assert used_memory(stage.node.state.keyspaces) == before
    assert stage.cluster.migrations.dropped == []
    assert Source(stage).establish(FIRST, LAST) == [OK]


def test_a_source_that_is_silent_is_given_up() -> None:
    stage, source, client = importing("--repl-timeout", "2")
    stage.talk(1_500)
    source.say("ACK")
    stage.talk(1_500)
    assert state_of(client)[0] == b"receiving-snapshot"
    stage.talk(1_000)
    assert state_of(client) == (b"failed", b"Timed out after too long with no interaction")


def test_a_target_without_room_refuses_before_it_loses_its_own_keys() -> None:
    stage, source, client = importing("--maxmemory", "1000000")
    items = [(key, b"v" * 5_000, 0) for key in keys_in(FIRST, LAST, 300)]
    for at in range(0, 300, 20):
        source.keys(items[at : at + 20])
    stage.talk(100)
    assert state_of(client) == (b"failed", b"Ran out of memory (OOM) during slot import")


def test_what_cannot_be_applied_ends_the_import() -> None:
    stage, source, client = importing()
    source.say("KEYS", NAME, b"\xf7 no such type")
    assert state_of(client)[0] == b"failed"
    stage.talk(50)
    source = Source(stage)
    assert source.establish(FIRST, LAST) == [OK]
    source.changes([b"NO-SUCH-COMMAND", b"x"])
    assert state_of(client) == (b"failed", b"Unknown command b'NO-SUCH-COMMAND'")


def test_a_batch_that_is_cut_off_ends_the_import() -> None:
    _stage, source, client = importing()
    source.say("STREAM", NAME, b"*3\r\n$3\r\nSET\r\n$1\r\na")
    assert state_of(client)[0] == b"failed"


def test_a_grant_without_ready_is_not_obeyed() -> None:
    stage, source, client = importing()
    source.keys([(key, b"1", 0) for key in keys_in(FIRST, LAST, 3)])
    source.say("GRANT", 2)
    assert state_of(client) == (b"failed", b"The grant came too late")
    assert stage.cluster.topology.owners[FIRST] is not stage.cluster.topology.myself
    assert client.ask("DBSIZE") == 0


def test_a_grant_that_is_read_late_is_not_obeyed() -> None:
    """As by a target that was frozen: the source may have given it up long ago."""
    stage, source, client = importing()
    source.say("SNAPSHOT-EOF")
    source.say("PAUSED", 1)
    stage.talk(2_000)
    source.say("GRANT", 2)
    assert state_of(client) == (b"failed", b"The grant came too late")


def test_a_pause_that_was_not_enough_is_followed_by_another() -> None:
    _stage, source, client = importing()
    (key,) = keys_in(FIRST, LAST, 1)
    source.say("SNAPSHOT-EOF")
    assert source.say("PAUSED", 1)[0][2:] == [b"READY", b"1"]
    source.say("RESUMED", 1)
    source.changes([b"SET", key, b"later"])
    assert source.say("PAUSED", 2)[0][2:] == [b"READY", b"2"]
    source.say("GRANT", 2)
    assert client.ask("GET", key) == b"later"


def test_slots_that_left_the_source_are_not_taken() -> None:
    stage, _source, client = importing()
    stage.cluster.topology.set_owner(FIRST, stage.cluster.topology.nodes["d" * 40])
    stage.talk(100)
    assert state_of(client) == (b"failed", b"Slots are not served by the source any more")


def test_a_source_that_lost_the_link_learns_the_outcome() -> None:
    stage, source, client = importing()
    asker = stage.connect()
    ask = ("CLUSTER", "SYNCSLOTS", "OUTCOME", NAME, OTHER, FIRST, LAST)
    assert asker.ask(*ask) == [b"unknown"]
    assert state_of(client)[0] == b"failed"  # what was not granted is given up before the answer
    source = Source(stage)
    assert source.establish(FIRST, LAST) == [OK]
    switch(stage, source)
    epoch = b"%d" % stage.cluster.topology.myself.config_epoch
    assert asker.ask(*ask) == [b"taken", ME.encode(), epoch]


def test_the_log_of_finished_moves_is_bounded() -> None:
    stage = stage_of("--cluster-slot-migration-log-max-len", "2")
    client = stage.connect()
    for number in range(4):
        source = Source(stage, name=f"{number}" * 40)
        assert source.establish(FIRST, LAST) == [OK]
        source.close()
        stage.talk(30)
    assert [row["name"] for row in migrations_at(client)] == [b"3" * 40, b"2" * 40]


def test_status_counts_what_arrives() -> None:
    _, _, client = importing()
    status = client.ask("REDOUBT", "STATUS")
    assert isinstance(status, list)
    fields = dict(zip(status[::2], status[1::2], strict=True))
    assert (fields[b"exports"], fields[b"imports"]) == (0, 1)
