"""The link to a master, played by the test: each stage of the handshake, broken anywhere, corrupt streams."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.persist.rdb_write import RdbWriter
from redoubt.replication.replica import FLOWING, RECEIVING
from redoubt.resp.replies import encode_command
from redoubt.version import REDIS_VERSION
from tests.redoubt.harness import Client, Harness
from tests.redoubt.replication.network import dataset, replication_of

REPLID = "ab" * 20
MARK = b"m" * 40
GREETING = encode_command([b"PING"])
ASK_NEW = encode_command([b"PSYNC", b"?", b"-1"])


def rdb(*entries, fields=()):
    writer = RdbWriter()
    writer.header(list(fields))
    for key, value in entries:
        writer.select(0)
        writer.entry(key, value, 0)
    writer.end()
    return writer.take()


class Master:
    """The other side of a replica's link, one step at a time."""

    def __init__(self, *words):
        self.node = Harness("--port", "7001", *words)
        self.node.connect().ask("REPLICAOF", "127.0.0.1", 7000)
        self.link = None

    @property
    def replication(self):
        return replication_of(self.node)

    def accept(self):
        """Take the dial; return the greeting."""
        (dial,) = self.node.dials
        assert (dial.host, dial.port) == ("127.0.0.1", 7000)
        self.node.dials.clear()
        self.link = Client(self.node, dial.link)
        dial.link.handle = self.link
        self.node.node.opened(dial.link, self.node.now_ms)
        self.node.turn()
        return self.take()

    def take(self):
        data, self.link.received = self.link.received, b""
        return data

    def say(self, data):
        """Send bytes to the replica; return what it answered."""
        self.node.node.received(self.link.link, data, self.node.now_ms)
        self.node.turn()
        return self.take()

    def to_psync(self):
        """Go through the handshake up to the replica's PSYNC, which is returned."""
        assert self.accept() == GREETING
        self.say(b"+PONG\r\n")
        return self.say(b"+OK\r\n" * 3)

    def to_flow(self, *entries):
        """Give a full copy with a mark."""
        assert self.to_psync() == ASK_NEW
        answer = self.say(
            f"+FULLRESYNC {REPLID} 1000\r\n".encode() + b"$EOF:" + MARK + b"\r\n" + rdb(*entries) + MARK
        )
        assert answer == encode_command([b"REPLCONF", b"ACK", b"1000"])

    def is_dropped(self):
        return self.link.is_closed


def test_the_handshake_in_full():
    master = Master(
        "--masterauth", "secret", "--masteruser", "replicator", "--replica-announce-ip", "1.2.3.4"
    )
    assert master.accept() == GREETING
    assert master.say(b"-NOAUTH Authentication required.\r\n") == b"".join(
        encode_command(command)
        for command in (
            [b"AUTH", b"replicator", b"secret"],
            [b"REPLCONF", b"listening-port", b"7001"],
            [b"REPLCONF", b"ip-address", b"1.2.3.4"],
            [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2", b"capa", b"redoubt"],
            [b"REPLCONF", b"version", REDIS_VERSION.encode()],
        )
    )
    assert (
        master.say(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: version\r\n") == ASK_NEW
    )
    master.say(f"+FULLRESYNC {REPLID} 1000\r\n".encode())
    assert master.replication.link.stage == RECEIVING
    payload = rdb((b"a", b"1"), fields=[(b"repl-stream-db", b"2"), (b"redoubt-epoch", b"9")])
    master.say(b"\n\n$%d\r\n" % len(payload) + payload)
    assert master.replication.link.stage == FLOWING
    assert (master.replication.replid, master.replication.offset) == (REPLID, 1000)
    assert (master.replication.data_epoch, master.replication.database) == (9, 2)
    assert master.replication.is_synced
    assert master.replication.link_is_up


def test_any_split_of_the_stream_gives_the_same():
    payload = rdb((b"a", b"1"), (b"b", b"x" * 300))
    stream = (
        b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n"
        + f"\n+FULLRESYNC {REPLID} 7\r\n\n".encode()
        + b"$EOF:" + MARK + b"\r\n" + payload + MARK
        + encode_command([b"SELECT", b"1"]) + encode_command([b"SET", b"c", b"3"])
    )  # fmt: skip
    for step in (1, 2, 7, 100, len(stream)):
        master = Master()
        master.accept()
        for start in range(0, len(stream), step):
            master.say(stream[start : start + step])
        assert dataset(master.node) == {
            (0, b"a"): (b"1", 0), (0, b"b"): (b"x" * 300, 0), (1, b"c"): (b"3", 0),
        }  # fmt: skip
        assert master.replication.offset == 7 + 23 + 27


@pytest.mark.parametrize("stage", range(7))
def test_a_link_lost_at_any_stage_is_dialled_again(stage):
    lines = [
        b"", b"+PONG\r\n", b"+OK\r\n", b"+OK\r\n+OK\r\n", f"+FULLRESYNC {REPLID} 7\r\n".encode(),
        b"$EOF:" + MARK + b"\r\nREDIS", b"0010",
    ]  # fmt: skip
    master = Master()
    master.accept()
    for line in lines[: stage + 1]:
        master.say(line)
    master.link.close()
    assert not master.replication.link_is_up
    assert not master.replication.is_synced
    assert len(master.node.dials) == 1
    master.to_flow((b"a", b"1"))
    assert dataset(master.node) == {(0, b"a"): (b"1", 0)}


def test_a_refused_link_is_dialled_again_with_growing_pauses():
    master = Master()
    times = []
    for _ in range(8):
        (dial,) = master.node.dials
        master.node.dials.clear()
        master.node.node.failed(dial.link, True, master.node.now_ms)
        master.node.turn()
        start_ms = master.node.now_ms
        while not master.node.dials:
            master.node.advance(10)
        times.append(master.node.now_ms - start_ms)
    assert times == [0, 100, 200, 400, 800, 1000, 1000, 1000]


@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Redoubt is waiting for its role",
        b"-NOMASTERLINK Can't SYNC while not connected with my master",
        b"-ERR whatever",
        b"+FULLRESYNC",
        b"+FULLRESYNC short 12",
        f"+FULLRESYNC {REPLID} x".encode(),
    ],
)
def test_a_master_that_cannot_now_is_asked_again_and_nothing_is_lost(answer):
    master = Master()
    master.to_flow((b"a", b"1"))
    master.link.close()
    master.to_psync()
    master.say(answer + b"\r\n")
    assert master.is_dropped()
    master.node.advance(1100)
    assert master.to_psync() == encode_command([b"PSYNC", REPLID.encode(), b"1001"])
    assert dataset(master.node) == {(0, b"a"): (b"1", 0)}
    assert master.replication.is_synced


def test_a_wrong_password_is_not_taken_for_success():
    master = Master("--masterauth", "wrong")
    master.accept()
    master.say(b"-NOAUTH Authentication required.\r\n")
    master.say(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
    assert master.is_dropped()


@pytest.mark.parametrize(
    "payload",
    [
        b"$EOF:short\r\n",
        b"+what\r\n",
        b"x" * 2000,
        b"$9\r\nRUBY00010",
        b"$EOF:" + MARK + b"\r\n" + rdb((b"a", b"1")) + b"n" * 40,
        b"$EOF:" + MARK + b"\r\n" + rdb((b"a", b"1"))[:-1] + b"\x00" + MARK,
        b"$10000\r\n" + rdb((b"a", b"1")),
        b"$20\r\n" + rdb((b"a", b"1")),
    ],
)
def test_a_corrupt_copy_changes_nothing(payload):
    master = Master()
    master.to_flow((b"a", b"old"))
    master.link.close()
    master.to_psync()
    master.say(f"+FULLRESYNC {'cd' * 20} 5\r\n".encode())
    master.say(payload)
    assert master.is_dropped()
    assert dataset(master.node) == {(0, b"a"): (b"old", 0)}
    assert master.replication.replid == REPLID
    master.node.advance(1100)
    assert master.to_psync() == encode_command([b"PSYNC", REPLID.encode(), b"1001"])


def test_a_broken_history_leads_to_a_full_copy():
    master = Master()
    master.to_flow((b"a", b"1"))
    master.say(encode_command([b"SET", b"b", b"2"]) + b"*1\r\n+broken\r\n")
    assert master.is_dropped()
    assert dataset(master.node)[(0, b"b")] == (b"2", 0)
    master.node.advance(1100)
    assert master.to_psync() == ASK_NEW


def test_commands_of_a_transaction_are_applied_together():
    master = Master()
    master.to_flow()
    begin = encode_command([b"MULTI"]) + encode_command([b"SET", b"a", b"1"])
    end = encode_command([b"SET", b"b", b"2"]) + encode_command([b"EXEC"])
    master.say(begin + end[:10])
    assert dataset(master.node) == {}
    assert master.replication.offset == 1000
    master.say(end[10:])
    assert dataset(master.node) == {(0, b"a"): (b"1", 0), (0, b"b"): (b"2", 0)}
    assert master.replication.offset == 1000 + len(begin + end)


def test_an_interrupted_transaction_comes_again_whole():
    master = Master()
    master.to_flow()
    master.say(encode_command([b"MULTI"]) + encode_command([b"SET", b"a", b"1"]))
    master.link.close()
    assert dataset(master.node) == {}
    assert master.to_psync() == encode_command([b"PSYNC", REPLID.encode(), b"1001"])


def test_acknowledgements_come_every_second_and_when_asked():
    master = Master()
    master.to_flow()
    master.node.advance(990)
    assert master.take() == b""
    master.node.advance(110)
    assert master.take() == encode_command([b"REPLCONF", b"ACK", b"1000"])
    ask = encode_command([b"SET", b"a", b"1"]) + encode_command([b"REPLCONF", b"GETACK", b"*"])
    assert master.say(ask) == encode_command([b"REPLCONF", b"ACK", b"%d" % (1000 + len(ask))])


def test_nothing_but_acknowledgements_is_answered():
    master = Master()
    master.to_flow()
    assert master.say(encode_command([b"GET", b"a"]) + encode_command([b"PING"])) == b""
    assert master.say(encode_command([b"NOSUCHCOMMAND", b"a", b"1"])) == b""
    assert master.replication.failed_commands == 1
    assert not master.is_dropped()


def test_a_silent_master_is_given_up():
    master = Master("--repl-timeout", "5")
    master.to_flow((b"a", b"1"))
    master.node.advance(4900)
    assert not master.is_dropped()
    master.node.advance(300)
    assert master.is_dropped()
    assert not master.replication.link_is_up
    assert master.replication.is_synced


def test_expired_keys_are_hidden_and_left_to_the_master():
    master = Master()
    master.to_flow()
    client = master.node.connect()
    due = b"%d" % (master.node.now_ms + 1000)
    master.say(encode_command([b"SET", b"a", b"1", b"PXAT", due]))
    master.node.advance(5000)
    assert client.ask("GET", "a") is None
    assert client.ask("EXISTS", "a") == 0
    assert dataset(master.node) == {(0, b"a"): (b"1", int(due))}
    # The master still sees it when its clock is behind.
    master.say(encode_command([b"APPEND", b"a", b"2"]))
    assert dataset(master.node) == {(0, b"a"): (b"12", int(due))}
    master.say(encode_command([b"DEL", b"a"]))
    assert dataset(master.node) == {}


def test_a_new_name_of_the_same_history_is_taken_over():
    master = Master()
    master.to_flow()
    master.link.close()
    master.to_psync()
    master.say(f"+CONTINUE {'cd' * 20}\r\n".encode())
    assert master.replication.replid == "cd" * 20
    assert (master.replication.replid2, master.replication.offset2) == (REPLID, 1001)
    assert master.replication.link_is_up


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), stage=st.integers(0, 3))
def test_random_bytes_at_any_stage_never_crash_and_never_touch_the_data(data, stage):
    master = Master()
    master.to_flow((b"a", b"1"))
    master.link.close()
    master.accept()
    for line in (b"+PONG\r\n", b"+OK\r\n" * 3, f"+FULLRESYNC {REPLID} 7\r\n".encode())[:stage]:
        master.say(line)
    if not master.is_dropped():
        master.say(data)
    assert dataset(master.node) == {(0, b"a"): (b"1", 0)}
