"""A client that writes all the time, as cluster clients do: it follows MOVED and reconnects when it must.

It is an event of the world, so that faults can be injected while it writes. `gap_ms` is what a person would
call the outage; `errors` counts what the application would have seen: connections that ended under a command,
and error replies other than MOVED.
"""

from __future__ import annotations

from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import ErrorReply, Reply, encode_command
from tests.sim.shards import Stage
from tests.sim.world import End

POLL_MS = 1
RETRY_MS = 5


class Writer:
    """Writes keys of one shard, one after the other, until it is stopped."""

    def __init__(self, stage: Stage, shard: int, address: str) -> None:
        self.stage = stage
        self.world = stage.world
        self.shard = shard
        self.address = address
        self.is_stopped = False
        self.errors: list[bytes] = []
        self.gap_ms = 0
        self.count = 0
        self._acknowledged_ms = self.world.now_ms
        self._end: End | None = None
        self._decoder = ReplyDecoder()
        self._pending: tuple[str, bytes] | None = None
        self._go_on()

    def stop(self) -> None:
        """Write no more."""
        self.is_stopped = True

    def _go_on(self) -> None:
        if not self.is_stopped:
            self.world.after(self._step(), self._go_on)

    def _step(self) -> int:
        """Do what is due; return when to come back."""
        end = self._end
        if end is None:
            return self._connect()
        if end.inbox and self._pending is not None:
            data, end.inbox = end.inbox, b""
            self._decoder.feed(data)
            reply = self._decoder.next()
            if not isinstance(reply, NeedMore):
                return self._take(reply, self._pending)
        if end.is_closed:
            if self._pending is not None:
                self.errors.append(b"closed")
            return self._turn_to(self._another())
        return POLL_MS

    def _connect(self) -> int:
        self._end = self.world.connect(self.address)
        self._decoder = ReplyDecoder()
        if self._end is None:
            return self._turn_to(self._another())
        return self._send()

    def _send(self) -> int:
        if self._pending is None:
            self._pending = self.stage.key_of(self.shard)
        key, value = self._pending
        assert self._end is not None
        self.world.send(self._end, encode_command([b"SET", key.encode(), value]))
        return POLL_MS

    def _take(self, reply: Reply, pending: tuple[str, bytes]) -> int:
        if isinstance(reply, ErrorReply):
            if reply.text.startswith(b"MOVED "):
                self.address = reply.text.split()[2].decode().rsplit(":", 1)[0]
                self._end = None
                return POLL_MS
            self.errors.append(reply.text)
            return self._turn_to(self._another())
        key, value = pending
        self.stage.acknowledged[key] = value
        self.gap_ms = max(self.gap_ms, self.world.now_ms - self._acknowledged_ms)
        self._acknowledged_ms = self.world.now_ms
        self.count += 1
        self._pending = None
        return self._send()

    def _turn_to(self, address: str) -> int:
        self.address = address
        self._end = None
        return RETRY_MS

    def _another(self) -> str:
        """Choose a member to ask next."""
        addresses = self.stage.members[self.shard] or [self.address]
        return self.world.random.choice(addresses)
