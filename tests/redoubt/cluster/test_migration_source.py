"""A source in front of a target that the test plays: what it sends, when writes wait, what it remembers."""

from __future__ import annotations

import pytest

from redoubt.cluster.migration_export import PAUSES_MAX
from redoubt.cluster.migration_stream import read_commands, read_entries
from redoubt.data.text import Value
from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.cluster.movers import (
    ME,
    OTHER,
    THIRD,
    Target,
    connect,
    dialled_target,
    keys_in,
    migrations_at,
    stage_of,
)
from tests.redoubt.cluster.peers import Stage
from tests.redoubt.harness import Client

FIRST, LAST = 0, 500
OK = SimpleString(b"OK")


class Move:
    """A node that moves slots of its own to a target that the test plays."""

    def __init__(self, *words: str, keys: int = 0) -> None:
        self.stage: Stage = stage_of(*words)
        self.client: Client = self.stage.connect()
        self.keys = keys_in(FIRST, LAST, max(keys, 5))
        for key in self.keys[:keys]:
            assert self.client.ask("SET", key, b"v" * 100) == OK
        self.order()
        self.target: Target = dialled_target(self.stage)
        name = migrations_at(self.client)[0]["name"]
        assert isinstance(name, bytes)
        self.name = name

    def order(self) -> None:
        assert self.client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", FIRST, LAST, "NODE", OTHER) == OK

    def run(self, duration_ms: int) -> None:
        """Let time pass while the target acknowledges."""
        for _ in range(max(1, duration_ms // 10)):
            self.stage.talk(10)
            self.target.acknowledge()

    def begin(self) -> None:
        self.target.say(b"+OK\r\n")
        self.run(400)

    def row(self) -> dict[str, object]:
        return dict(migrations_at(self.stage.connect())[0])

    def snapshot(self) -> dict[bytes, Value]:
        """Collect what the KEYS held."""
        batches = [argv[4] for argv in self.target.got if argv[2:3] == [b"KEYS"]]
        items = [item for batch in batches for item in read_entries(batch)]
        assert len({key for key, _, _ in items}) == len(items), "a key is sent once"
        return {key: value for key, value, _ in items}

    def changes(self) -> list[list[bytes]]:
        batches = [argv[4] for argv in self.target.got if argv[2:3] == [b"STREAM"]]
        return [argv for batch in batches for argv in read_commands(batch)]

    def until_paused(self) -> None:
        for _ in range(100):
            if self.target.words()[-1] == b"PAUSED":
                return
            self.stage.talk(1)
            if self.target.words()[-1] != b"PAUSED":
                self.target.acknowledge()
        raise AssertionError(self.target.words())

    def grant(self) -> None:
        self.target.say(b"+OK\r\n")
        self.until_paused()
        self.target.tell("READY", 1)
        assert self.target.words()[-1] == b"GRANT"


def test_a_target_is_introduced_to_and_sent_every_key_once() -> None:
    move = Move(keys=300)
    assert move.target.got == [
        [b"CLUSTER", b"SYNCSLOTS", b"ESTABLISH", b"SOURCE", ME.encode(), b"NAME", move.name,
         b"SLOTSRANGE", b"0", b"500"],
    ]  # fmt: skip
    move.begin()
    assert move.snapshot() == dict.fromkeys(move.keys, b"v" * 100)
    assert b"SNAPSHOT-EOF" in move.target.words()


def test_the_password_of_the_masters_comes_first() -> None:
    move = Move("--masterauth", "secret", "--masteruser", "mover")
    assert move.target.got[0] == [b"AUTH", b"mover", b"secret"]
    move.target.say(b"-WRONGPASS no\r\n")
    assert (move.row()["state"], move.row()["message"]) == (
        b"failed", b"Failed to AUTH to target node: WRONGPASS no",
    )  # fmt: skip


def test_a_refusal_of_the_target_is_the_message() -> None:
    move = Move()
    move.target.say(b"-ERR Target node does not agree about current slot ownership\r\n")
    assert move.row()["message"] == b"ERR Target node does not agree about current slot ownership"


def test_a_target_that_nobody_reaches_fails_the_move() -> None:
    stage = stage_of()
    client = stage.connect()
    client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 1, "NODE", OTHER)
    (dial,) = [dial for dial in stage.dials if dial.port == 6379]
    stage.node.failed(dial.link, True, stage.now_ms)
    assert migrations_at(client)[0]["message"] == b"Cannot connect to the target"


def test_changes_of_moving_slots_follow_and_others_do_not() -> None:
    move = Move(keys=5)
    other = keys_in(LAST + 1, 5_460, 1)[0]
    move.begin()
    move.client.ask("SET", move.keys[0], "new", "PX", 5_000)
    move.client.ask("SET", other, "elsewhere")
    move.client.ask("APPEND", move.keys[1], "+")
    move.client.ask("UNLINK", move.keys[2])
    move.run(30)
    assert [argv[0] for argv in move.changes()] == [b"SET", b"APPEND", b"UNLINK"]
    assert move.changes()[0][3].upper() == b"PXAT"  # the decision, not the question


def test_a_write_in_the_middle_of_the_snapshot_is_neither_lost_nor_doubled() -> None:
    move = Move(keys=4_000)
    move.target.say(b"+OK\r\n")
    expected = dict.fromkeys(move.keys, b"v" * 100)
    for number, key in enumerate(move.keys[::-70]):
        move.stage.talk(1)
        if b"SNAPSHOT-EOF" in move.target.words():
            break
        expected[key] = b"new %d" % number
        move.client.ask("SET", key, expected[key])
        move.target.acknowledge()
    move.run(500)
    final: dict[bytes, Value] = dict(move.snapshot())
    assert len(move.changes()) > 3
    for argv in move.changes():
        final[argv[1]] = argv[2]
    assert final == expected


def test_what_expires_is_told_as_del() -> None:
    move = Move(keys=5)
    move.client.ask("PEXPIRE", move.keys[0], 200)
    move.begin()
    move.run(500)
    assert [b"DEL", move.keys[0]] in move.changes()


def test_a_flush_ends_the_snapshot() -> None:
    move = Move(keys=2_000)
    move.target.say(b"+OK\r\n")
    move.stage.talk(1)
    sent = len(move.snapshot())
    move.client.ask("FLUSHALL")
    move.client.ask("SET", move.keys[0], "anew")
    move.run(300)
    assert 0 < sent < 2_000
    assert [argv[0] for argv in move.changes()] == [b"FLUSHALL", b"SET"]


def test_a_target_that_does_not_read_is_not_fed() -> None:
    move = Move(keys=2_000)
    move.target.say(b"+OK\r\n")
    move.stage.talk(500)  # nothing is acknowledged
    sent = sum(len(argv[4]) for argv in move.target.got if argv[2:3] == [b"KEYS"])
    assert 0 < sent < 150_000
    assert move.row()["state"] == b"snapshotting"


def test_a_target_that_is_too_slow_fails_the_move_instead_of_taking_memory() -> None:
    move = Move("--client-output-buffer-limit", "replica", "100000", "0", "0", keys=5)
    move.begin()
    for _ in range(30):
        move.client.ask("SET", move.keys[0], b"x" * 10_000)
        move.stage.talk(10)
    assert move.row()["message"] == b"The target is too slow: too many changes wait for it"
    assert move.client.ask("SET", move.keys[0], "1") == OK


def test_a_silent_target_is_given_up() -> None:
    move = Move("--repl-timeout", "2")
    move.begin()
    move.stage.talk(2_500)
    assert move.row()["message"] == b"Timed out after too long with no interaction"


def test_writes_wait_for_the_switch_and_reads_do_not() -> None:
    move = Move(keys=5)
    other = keys_in(LAST + 1, 5_460, 1)[0]
    move.target.say(b"+OK\r\n")
    move.until_paused()
    writer, reader = move.stage.connect(), move.stage.connect()
    assert writer.send(b"SET " + move.keys[0] + b" late\r\n") == b""
    assert reader.ask("GET", move.keys[0]) == b"v" * 100
    assert reader.ask("SET", other, "1") == OK
    move.target.tell("READY", 1)
    assert reader.send(b"GET " + move.keys[0] + b"\r\n") == b""  # the target may be ahead by now
    move.target.tell("TAKEN", 9)
    moved = b"MOVED " + b"%d" % move.stage.node.state.keyspaces[0].slot_of(move.keys[0])
    for client in (writer, reader):
        (reply,) = client.replies()
        assert isinstance(reply, ErrorReply) and reply.text == moved + b" 10.0.0.2:6379"
    assert move.row()["state"] == b"success"


def test_a_pause_ends_in_time_and_is_tried_again() -> None:
    move = Move("--cluster-slot-migration-max-write-pause-ms", "30", keys=5)
    move.target.say(b"+OK\r\n")
    move.until_paused()
    writer = move.stage.connect()
    assert writer.send(b"SET " + move.keys[0] + b" 1\r\n") == b""
    move.stage.talk(40)
    assert writer.replies() == [OK]
    assert b"RESUMED" in move.target.words()
    move.target.tell("READY", 1)  # too late
    assert b"GRANT" not in move.target.words()
    move.run(200)
    assert move.target.words().count(b"PAUSED") > 1


def test_a_target_that_is_never_ready_fails_the_move_in_the_end() -> None:
    move = Move("--cluster-slot-migration-max-write-pause-ms", "1", keys=5)
    move.target.say(b"+OK\r\n")
    move.run(60_000)
    assert move.row()["message"] == b"The target did not catch up within the write pause"
    assert move.target.words().count(b"PAUSED") == PAUSES_MAX
    assert move.client.ask("SET", move.keys[0], "1") == OK


def test_the_grant_is_durable_before_it_is_said() -> None:
    move = Move(keys=5)
    move.target.say(b"+OK\r\n")
    move.until_paused()
    assert b"redoubt-slot-grants" not in move.stage.files["nodes.conf"]
    seen: list[bytes] = []
    take = move.target.take

    def note(data: bytes) -> None:
        seen.append(move.stage.files["nodes.conf"])
        take(data)

    move.target.take = note  # type: ignore[method-assign]
    move.target.tell("READY", 1)
    assert move.target.words()[-1] == b"GRANT"
    assert move.name in seen[-1] or b"redoubt-slot-grants" in seen[-1]


def test_a_grant_that_cannot_be_written_down_is_not_said() -> None:
    move = Move(keys=5)
    move.target.say(b"+OK\r\n")
    move.until_paused()
    move.stage.disk_error = "No space left on device"
    move.target.tell("READY", 1)
    assert b"GRANT" not in move.target.words()
    assert move.stage.exit_code == 1


def test_granted_slots_are_neither_served_nor_claimed_until_the_outcome_is_known() -> None:
    move = Move(keys=5)
    move.grant()
    move.stage.end(move.target)
    move.stage.talk(3_000)
    assert move.client.ask("GET", move.keys[0]) == ErrorReply(b"CLUSTERDOWN Hash slot not served")
    claims = move.stage.peers[OTHER].got[-1].slots
    assert not claims & (1 << FIRST | 1 << LAST)
    assert claims >> (LAST + 1) & 1
    assert move.row()["state"] == b"failover-granted"


def ask_outcome(move: Move) -> Target:
    """Take the question that the source asks the target about its grant."""
    for _ in range(100):
        found = [dial for dial in move.stage.dials if (dial.host, dial.port) == ("10.0.0.2", 6379)]
        if found:
            return connect(move.stage, found[0])
        move.stage.now_ms += 10
        move.stage.node.tick(move.stage.now_ms)
        move.stage.turn()
    raise AssertionError("no question")


def test_a_target_that_knows_nothing_gives_the_slots_back() -> None:
    move = Move(keys=5)
    move.grant()
    epoch = move.stage.cluster.topology.myself.config_epoch
    move.stage.end(move.target)
    asked = ask_outcome(move)
    assert asked.got[0][:4] == [b"CLUSTER", b"SYNCSLOTS", b"OUTCOME", move.name]
    asked.say(b"*1\r\n$7\r\nunknown\r\n")
    assert move.stage.cluster.topology.myself.config_epoch > epoch
    assert move.client.ask("GET", move.keys[0]) == b"v" * 100
    assert move.row()["state"] == b"failed"
    assert b"redoubt-slot-grants" not in move.stage.files["nodes.conf"]


def test_a_target_that_has_them_keeps_them() -> None:
    move = Move(keys=5)
    move.grant()
    move.stage.end(move.target)
    ask_outcome(move).say(b"*3\r\n$5\r\ntaken\r\n$40\r\n%s\r\n$1\r\n9\r\n" % OTHER.encode())
    moved = move.client.ask("GET", move.keys[0])
    assert isinstance(moved, ErrorReply) and moved.text.startswith(b"MOVED ")
    assert move.row()["state"] == b"success"


def test_what_is_open_there_stays_open_here() -> None:
    move = Move(keys=5)
    move.grant()
    move.stage.end(move.target)
    for answer in (b"*1\r\n$4\r\nopen\r\n", b"-LOADING Redoubt is waiting for its role\r\n"):
        ask_outcome(move).say(answer)
        assert move.row()["state"] == b"failover-granted"


def test_a_restarted_source_remembers_what_it_granted() -> None:
    move = Move(keys=5)
    move.grant()
    again = Stage(move.stage.files["nodes.conf"].decode())
    again.talk(300)
    client = again.connect()
    assert client.ask("GET", move.keys[0]) == ErrorReply(b"CLUSTERDOWN Hash slot not served")
    assert client.ask("GET", keys_in(LAST + 1, 5_460, 1)[0]) is None
    (row,) = migrations_at(client)
    assert (row["name"], row["state"]) == (move.name, b"failover-granted")


def test_the_claim_on_the_bus_is_an_outcome_too() -> None:
    move = Move(keys=5)
    move.grant()
    move.stage.end(move.target)
    peer = move.stage.peers[OTHER]
    peer.config_epoch = peer.current_epoch = 9
    peer.slots |= (1 << LAST + 1) - 1
    move.stage.talk(4_000)
    assert move.row()["state"] == b"success"
    assert move.client.ask("DBSIZE") == 0


def test_the_keys_left_behind_are_removed_in_slices() -> None:
    move = Move(keys=2_000)
    for _ in range(40):
        move.run(50)
        if b"SNAPSHOT-EOF" in move.target.words():
            break
        move.target.say(b"+OK\r\n") if move.row()["state"] == b"reading-establish-response" else None
    move.until_paused()
    attempt = move.target.words().count(b"PAUSED")
    move.target.tell("READY", attempt)
    move.target.tell("TAKEN", 9)
    left = move.client.ask("DBSIZE")
    assert isinstance(left, int) and 1_000 < left <= 2_000
    move.stage.talk(300)
    assert move.client.ask("DBSIZE") == 0


def test_cancelling_ends_what_is_not_granted() -> None:
    move = Move(keys=5)
    move.client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", LAST + 1, LAST + 9, "NODE", THIRD)
    move.target.say(b"+OK\r\n")
    move.until_paused()
    writer = move.stage.connect()
    writer.send(b"SET " + move.keys[0] + b" 1\r\n")
    assert move.client.ask("CLUSTER", "CANCELSLOTMIGRATIONS") == OK
    assert writer.replies() == [OK]
    assert [row["state"] for row in migrations_at(move.client)] == [b"cancelled", b"cancelled"]
    assert move.target.words()[-1] == b"CANCEL"


def test_a_granted_move_is_not_cancelled() -> None:
    move = Move(keys=5)
    move.grant()
    assert move.client.ask("CLUSTER", "CANCELSLOTMIGRATIONS") == ErrorReply(b"ERR No migrations ongoing")
    assert move.row()["state"] == b"failover-granted"


def test_moves_of_one_source_run_one_after_another() -> None:
    move = Move(keys=5)
    move.client.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", LAST + 1, LAST + 9, "NODE", THIRD)
    move.stage.turn()
    assert [dial for dial in move.stage.dials if dial.port == 6379] == []
    move.grant()
    move.target.tell("TAKEN", 9)
    move.stage.now_ms += 1
    move.stage.node.tick(move.stage.now_ms)
    move.stage.turn()
    assert dialled_target(move.stage, "10.0.0.4").got[0][2] == b"ESTABLISH"


@pytest.mark.parametrize("loss", ["slots", "target"])
def test_a_change_of_the_map_ends_the_move(loss: str) -> None:
    move = Move(keys=5)
    move.begin()
    topology = move.stage.cluster.topology
    if loss == "slots":
        topology.set_owner(FIRST, topology.nodes[THIRD])
        expected = b"Slots are not served by this node any more"
    else:
        topology.nodes[OTHER].flags |= 8
        expected = b"Target node has failed"
    move.stage.now_ms += 1
    move.stage.node.tick(move.stage.now_ms)
    assert move.row()["message"] == expected
