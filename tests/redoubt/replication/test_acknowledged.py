"""An acknowledged write survives the kill of the master's process: it had left for the replica before."""

import os
import signal
import threading

import pytest

from redoubt.resp.replies import ErrorReply, SimpleString, encode_command
from tests.redoubt.harness import server_process
from tests.redoubt.replication.test_with_redis import NOW, caught_up, information, until

pytestmark = pytest.mark.process
OK = SimpleString(b"OK")


class Writer:
    """Writes numbered keys in batches until the server dies; knows what was acknowledged."""

    def __init__(self, server, value):
        self.client = server.connect()
        self.value = value
        self.acknowledged = 0
        self.refused = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while True:
                start = self.acknowledged
                batch = [[b"SET", b"key %d" % (start + i), self.value] for i in range(20)]
                self.client.send(b"".join(map(encode_command, batch)))
                for _ in batch:
                    reply = self.client.read()
                    if isinstance(reply, ErrorReply):
                        assert reply.text.startswith(b"NOREPLICAS")
                        self.refused += 1
                    else:
                        assert reply == OK
                        self.acknowledged += 1
                if self.refused:
                    return
        except OSError:
            return


def missing(client, count):
    """Return which of the first keys a server lacks."""
    return [i for i in range(count) if client.ask("EXISTS", f"key {i}") == 0]


@pytest.mark.parametrize("round_number", range(4))
def test_sigkill_loses_nothing_that_was_acknowledged(round_number):
    with server_process(*NOW) as first, server_process(*NOW) as second:
        master, replica = first.connect(), second.connect()
        replica.ask("REPLICAOF", "127.0.0.1", first.port)
        caught_up(master, replica)
        writer = Writer(first, b"x" * 100)
        until(lambda: writer.acknowledged > 500 * (round_number + 1), "some writes")
        first.kill()
        writer.thread.join()
        until(lambda: information(replica)["master_link_status"] == "down", "the replica notices")
        assert missing(replica, writer.acknowledged) == []


def test_with_min_replicas_a_frozen_replica_holds_replies_before_anything_can_be_lost():
    promise = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-timeout", "60")
    with server_process(*NOW, *promise) as first, server_process(*NOW) as second:
        master, replica = first.connect(), second.connect()
        replica.ask("REPLICAOF", "127.0.0.1", first.port)
        caught_up(master, replica)
        until(lambda: information(master).get("min_slaves_good_slaves") == "1", "the promise holds")
        os.kill(second.process.pid, signal.SIGSTOP)
        writer = Writer(first, b"x" * 100_000)
        # Its kernel takes a while of it; then replies wait; then the replica is no longer good.
        writer.thread.join(30)
        assert not writer.thread.is_alive()
        first.kill()
        os.kill(second.process.pid, signal.SIGCONT)
        until(lambda: information(replica)["master_link_status"] == "down", "the replica notices")
        assert missing(replica, writer.acknowledged) == []
