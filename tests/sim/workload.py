"""Clients of a cluster whose slots move: they write and read all the time, and keep the books.

A `Hand` is one client as a cluster library makes them: it remembers which node has which slot, follows MOVED,
and turns to another node when a connection ends. It sets, deletes, lets expire, and appends, one
command at a time, and enters every attempt into its accounts (`ledger.py`). What it reads it judges at once.

`errors` is what an application would have seen; a move without faults must leave it empty. A promise is made
by the acknowledgement itself if `trusts_replies`, else by WAIT.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from redoubt.cluster.slots import key_slot
from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import ErrorReply, Reply, encode_command
from tests.sim.ledger import Account, Contents
from tests.sim.shards import Stage
from tests.sim.world import End

THINK_MS_MAX: Final = 4
RETRY_MS: Final = 5
# A command without a reply after this long is given up, with an unknown outcome.
PATIENCE_MS: Final = 1_500
WAIT_MS: Final = 300
EXPIRY_MS: Final = 40
# A value of the second kind does not fit beside others in one packet.
LARGE_BYTES: Final = 3_000


@cache
def keys_in(first: int, last: int, count: int) -> tuple[str, ...]:
    """Find keys of different slots in first..last, spread over them."""
    stride = max(1, (last - first + 1) // count)
    wanted = {first + number * stride: "" for number in range(count)}
    number = 0
    while "" in wanted.values():
        slot = key_slot(b"k%d" % number)
        if slot in wanted and not wanted[slot]:
            wanted[slot] = f"k{number}"
        number += 1
    return tuple(wanted.values())


class Errand:
    """One command of a hand."""

    def __init__(self, account: Account, words: list[bytes], number: int) -> None:
        self.account = account
        self.words = words
        self.number = number  # -1: it only reads


class Connection:
    """A connection to one node, and what was acknowledged on it since the last WAIT."""

    def __init__(self, address: str, end: End) -> None:
        self.address = address
        self.end = end
        self.decoder = ReplyDecoder()
        self.unconfirmed: list[Errand] = []


class Hand:
    """One client; see the module's docstring."""

    def __init__(self, stage: Stage, accounts: list[Account], wait: int, trusts_replies: bool) -> None:
        self.stage = stage
        self.world = stage.world
        self.accounts = accounts
        self.wait = wait
        self.trusts_replies = trusts_replies
        self.is_stopped = False
        self.think_ms_max = THINK_MS_MAX
        self.errors: list[bytes] = []
        self.count = 0
        self.gap_ms = 0
        self._places: dict[int, str] = {}
        self._connections: dict[str, Connection] = {}
        self._errand: Errand | None = None
        self._asked: Connection | None = None  # who owes us a reply
        self._is_waiting = False  # and whether it is that of WAIT
        self._asked_ms = 0
        self._answered_ms = self.world.now_ms
        self._serial = 0
        self.world.after(0, self._go_on)
        self.world.after(PATIENCE_MS, self._watch)

    def stop(self) -> None:
        """Send nothing more."""
        self.is_stopped = True

    @property
    def is_idle(self) -> bool:
        """Say whether no reply is owed any more."""
        return self.is_stopped and self._asked is None

    # Asking.

    def _go_on(self) -> None:
        if self.is_stopped or self._asked is not None:
            return
        if self._errand is None:
            self._errand = self._invent()
        connection = self._connect(self._errand.account.slot)
        if connection is None:
            self.world.after(RETRY_MS, self._go_on)
            return
        self._send(connection, self._errand.words)

    def _invent(self) -> Errand:
        """Think of the next command."""
        random = self.world.random
        account = random.choice(self.accounts)
        key = account.key.encode()
        self._serial += 1
        value = b"%d" % self._serial
        if account.is_log:
            if random.random() < 0.2:
                return Errand(account, [b"GET", key], -1)
            return Errand(account, [b"APPEND", key, value + b","], account.attempt(value))
        kind = random.random()
        if kind < 0.2:
            return Errand(account, [b"GET", key], -1)
        if kind < 0.4:
            return Errand(account, [b"DEL", key], account.attempt(None))
        if kind < 0.55:
            fades_ms = self.world.now_ms + EXPIRY_MS
            words = [b"SET", key, value, b"PX", b"%d" % EXPIRY_MS]
            return Errand(account, words, account.attempt(value, fades_ms))
        if kind < 0.65:
            value = value.ljust(LARGE_BYTES, b".")
        return Errand(account, [b"SET", key, value], account.attempt(value))

    def _connect(self, slot: int) -> Connection | None:
        address = self._places.get(slot) or self.world.random.choice(self.stage.addresses())
        self._places[slot] = address
        known = self._connections.get(address)
        if known is not None and not known.end.is_closed:
            return known
        end = self.world.connect(address)
        if end is None:
            self._places.pop(slot)
            return None
        self._connections[address] = Connection(address, end)
        end.on_arrival = self._arrived
        return self._connections[address]

    def _send(self, connection: Connection, words: list[bytes]) -> None:
        self._asked = connection
        self._asked_ms = self.world.now_ms
        self.world.send(connection.end, encode_command(words))

    # Hearing.

    def _arrived(self) -> None:
        """Bytes have arrived on a connection, or it has ended."""
        connection = self._asked
        if connection is None:
            return
        data, connection.end.inbox = connection.end.inbox, b""
        connection.decoder.feed(data)
        reply = connection.decoder.next()
        if not isinstance(reply, NeedMore):
            self._asked = None
            if self._is_waiting:
                self._take_wait(connection, reply)
            else:
                self._take(connection, reply)
        elif connection.end.is_closed:
            self._lose(connection, b"closed")

    def _watch(self) -> None:
        """Give up what was not answered for too long."""
        if self._asked is not None and self.world.now_ms - self._asked_ms >= PATIENCE_MS:
            self._lose(self._asked, b"timeout")
        if not self.is_idle:
            self.world.after(PATIENCE_MS // 4, self._watch)

    def _lose(self, connection: Connection, why: bytes) -> None:
        """Count on no reply of this connection; the outcome of what was asked stays unknown."""
        self.errors.append(why)
        self._asked = None
        self._is_waiting = False
        self._errand = None
        connection.end.on_arrival = None
        self._connections.pop(connection.address, None)
        self._forget_place(connection.address)
        self.world.hang_up(connection.end)
        self.world.after(RETRY_MS, self._go_on)

    def _forget_place(self, address: str) -> None:
        self._places = {slot: place for slot, place in self._places.items() if place != address}

    def _take(self, connection: Connection, reply: Reply) -> None:
        errand = self._errand
        assert errand is not None
        if isinstance(reply, ErrorReply):
            if reply.text.startswith(b"MOVED "):
                self._places[errand.account.slot] = reply.text.split()[2].decode().rsplit(":", 1)[0]
                self._go_on()
                return
            self.errors.append(reply.text)
            self._places.pop(errand.account.slot, None)
            self.world.after(RETRY_MS, self._go_on)
            return
        self.gap_ms = max(self.gap_ms, self.world.now_ms - self._answered_ms)
        self._answered_ms = self.world.now_ms
        self.count += 1
        self._errand = None
        if errand.number < 0:
            if self.trusts_replies:
                found = contents_of(errand.account, reply)
                objection = errand.account.objection(found, self.world.now_ms)
                assert not objection, f"read at {connection.address}: {objection}"
        elif self.trusts_replies:
            errand.account.promise(errand.number)
        else:
            connection.unconfirmed.append(errand)
        if connection.unconfirmed and self.wait and self.world.random.random() < 0.5:
            self._is_waiting = True
            self._send(connection, [b"WAIT", b"%d" % self.wait, b"%d" % WAIT_MS])
            return
        self.world.after(self.world.random.randint(0, self.think_ms_max), self._go_on)

    def _take_wait(self, connection: Connection, reply: Reply) -> None:
        self._is_waiting = False
        if isinstance(reply, int) and reply >= self.wait:
            for errand in connection.unconfirmed:
                errand.account.promise(errand.number)
        connection.unconfirmed = []
        self.world.after(self.world.random.randint(0, self.think_ms_max), self._go_on)


def contents_of(account: Account, reply: Reply | None) -> Contents:
    """Read the reply of GET: a log is the list of what was appended."""
    assert reply is None or isinstance(reply, bytes), reply
    if account.is_log:
        return reply.split(b",")[:-1] if reply else []
    return reply
