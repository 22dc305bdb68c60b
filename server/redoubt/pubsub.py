"""Publish and subscribe: who listens to which channels, patterns and shard channels of this server.

A message goes to the subscribers of its channel, then to those of every pattern that fits it, so a client
may get it several times. It is encoded once, however many listen: a RESP3 push and the array that a RESP2
subscriber gets differ in their first byte only. A client that publishes to itself reads the reply of its
command before the message (`Session.push`).

Shard channels are a space of their own: a channel has the hash slot of its name, only the slot's owners
serve it, and when the slot goes to another node its subscribers are told and let go.

The commands are in `redoubt.commands.pubsub`, keyspace notifications in `redoubt.keyspace_events`; the
cluster brings the messages of other nodes. Nothing here knows the bus, replicas or access rules.
Source: the pub/sub pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.data.glob import Glob
from redoubt.data.key_slot import key_slot
from redoubt.resp.replies import Push, encoded
from redoubt.session import CLASS_NORMAL, CLASS_PUBSUB, GATE_SUBSCRIBER

if TYPE_CHECKING:
    from redoubt.session import Session

_NOBODY: Final[dict[int, Session]] = {}
# What each kind of subscription is called in confirmations: taken up, given up.
CONFIRMATIONS: Final = ((b"subscribe", b"unsubscribe"), (b"psubscribe", b"punsubscribe"),
                        (b"ssubscribe", b"sunsubscribe"))  # fmt: skip
# Kinds of subscriptions, as places in `Subscriptions.names`.
CHANNEL: Final = 0
PATTERN: Final = 1
SHARD_CHANNEL: Final = 2


class Subscriptions:
    """What one client listens to: the names of each kind, in the order in which they were subscribed."""

    def __init__(self) -> None:
        self.names: tuple[dict[bytes, None], dict[bytes, None], dict[bytes, None]] = ({}, {}, {})

    def count(self, kind: int) -> int:
        """Count what confirmations of this kind count: shard channels are apart from the others."""
        if kind == SHARD_CHANNEL:
            return len(self.names[SHARD_CHANNEL])
        return len(self.names[CHANNEL]) + len(self.names[PATTERN])

    def total(self) -> int:
        """Count everything."""
        return self.count(CHANNEL) + self.count(SHARD_CHANNEL)


class PubSub:
    """The subscribers of one server; see the module's docstring."""

    def __init__(self) -> None:
        # By kind, then name: the sessions that listen, by number, in the order in which they came.
        self.listeners: tuple[
            dict[bytes, dict[int, Session]], dict[bytes, dict[int, Session]], dict[bytes, dict[int, Session]]
        ] = ({}, {}, {})
        self.globs: dict[bytes, Glob] = {}  # the patterns, compiled
        self.subscriber_count = 0  # clients with a subscription of any kind

    # Subscribing.

    def subscribe(self, ctx: Session, kind: int, name: bytes) -> Push:
        """Let the session listen; return the confirmation."""
        subscriptions = ctx.subscriptions
        if subscriptions is None:
            subscriptions = Subscriptions()
            ctx.subscriptions = subscriptions
            self.subscriber_count += 1
            ctx.client_class = CLASS_PUBSUB
            update_subscriber_gate(ctx)
        names = subscriptions.names[kind]
        if name not in names:
            names[name] = None
            listeners = self.listeners[kind]
            if name not in listeners:
                listeners[name] = {}
                if kind == PATTERN:
                    self.globs[name] = Glob(name)
            listeners[name][ctx.session_id] = ctx
        return Push([CONFIRMATIONS[kind][0], name, subscriptions.count(kind)])

    def unsubscribe(self, ctx: Session, kind: int, name: bytes) -> Push:
        """Let the session listen no more, if it did; return the confirmation."""
        left = 0
        subscriptions = ctx.subscriptions
        if subscriptions is not None:
            names = subscriptions.names[kind]
            if name in names:
                del names[name]
                self._forget(ctx, kind, name)
            left = subscriptions.count(kind)
            if subscriptions.total() == 0:
                self._release(ctx)
        return Push([CONFIRMATIONS[kind][1], name, left])

    def closed(self, ctx: Session) -> None:
        """Forget a session that has ended or was reset."""
        subscriptions = ctx.subscriptions
        if subscriptions is not None:
            for kind in (CHANNEL, PATTERN, SHARD_CHANNEL):
                for name in subscriptions.names[kind]:
                    self._forget(ctx, kind, name)
            self._release(ctx)

    def _forget(self, ctx: Session, kind: int, name: bytes) -> None:
        listeners = self.listeners[kind]
        sessions = listeners[name]
        del sessions[ctx.session_id]
        if not sessions:
            del listeners[name]
            if kind == PATTERN:
                del self.globs[name]

    def _release(self, ctx: Session) -> None:
        ctx.subscriptions = None
        ctx.client_class = CLASS_NORMAL
        self.subscriber_count -= 1
        update_subscriber_gate(ctx)

    # Publishing.

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send to the subscribers of this server; return how many deliveries that were."""
        count = 0
        sessions = self.listeners[CHANNEL].get(channel)
        if sessions is not None:
            count = deliver(sessions, [b"message", channel, message])
        if self.globs:
            for pattern, glob in self.globs.items():
                if glob.matches(channel):
                    listening = self.listeners[PATTERN][pattern]
                    count += deliver(listening, [b"pmessage", pattern, channel, message])
        return count

    def publish_to_shard(self, channel: bytes, message: bytes) -> int:
        """Send to the shard channel's subscribers of this server; return how many there are."""
        return deliver(self.listeners[SHARD_CHANNEL].get(channel, _NOBODY), [b"smessage", channel, message])

    # What PUBSUB, INFO and the cluster ask.

    def names(self, kind: int, pattern: bytes | None) -> list[bytes]:
        """List what somebody listens to, filtered by a pattern if one is given."""
        if pattern is None:
            return list(self.listeners[kind])
        glob = Glob(pattern)
        return [name for name in self.listeners[kind] if glob.matches(name)]

    def listener_count(self, kind: int, name: bytes) -> int:
        """Count the sessions that listen to one name."""
        return len(self.listeners[kind].get(name, _NOBODY))

    def keep_slots(self, mask: int) -> None:
        """Let go whoever listens to a shard channel of a slot that is not among these; tell them."""
        for name in list(self.listeners[SHARD_CHANNEL]):
            if not mask >> key_slot(name) & 1:
                for session in list(self.listeners[SHARD_CHANNEL][name].values()):
                    session.push(encoded(self.unsubscribe(session, SHARD_CHANNEL, name), session.resp))


def deliver(sessions: dict[int, Session], items: list[bytes]) -> int:
    """Push the same message to every session; return how many they are."""
    if not sessions:
        return 0
    wire = encoded(items)
    pushed = b""
    for session in sessions.values():
        if session.resp == 2:
            session.push(wire)
        else:
            pushed = pushed or b">" + wire[1:]
            session.push(pushed)
    return len(sessions)


def update_subscriber_gate(ctx: Session) -> None:
    """Set the gate of subscriber mode, which only RESP2 has: there replies and messages look alike."""
    ctx.set_own_gate(GATE_SUBSCRIBER, ctx.resp == 2 and ctx.subscriptions is not None)
