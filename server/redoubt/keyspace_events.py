"""Keyspace notifications: what happens to keys, published on channels.

An event has a class, a name and a key. If notify-keyspace-events asks for its class, the name is published
on `__keyspace@<database>__:<key>` (K) and the key on `__keyevent@<database>__:<name>` (E). Handlers say
`ctx.notify(EVENT_LIST, b"lpush", key)` where the change happens, in Redis's order; parts without a session
say `state.events.notify(...)`. While nobody asks, either is one test of an integer:
`ServerState.event_classes` is 0 unless K or E is set.

Here is only what an event becomes; who hears it is `redoubt.pubsub`'s business. Events stay on their node.
Source: the page on keyspace notifications of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.session import GATE_LOADING

if TYPE_CHECKING:
    from redoubt.state import ServerState

EVENT_GENERIC: Final = 1 << 2
EVENT_STRING: Final = 1 << 3
EVENT_LIST: Final = 1 << 4
EVENT_SET: Final = 1 << 5
EVENT_HASH: Final = 1 << 6
EVENT_SORTED_SET: Final = 1 << 7
EVENT_EXPIRED: Final = 1 << 8
EVENT_EVICTED: Final = 1 << 9
EVENT_STREAM: Final = 1 << 10
EVENT_MISS: Final = 1 << 11  # a read found no key
EVENT_NEW: Final = 1 << 12  # a key was created

# The letters of notify-keyspace-events. d (modules) is taken and shown, though there are none.
_CLASSES: Final = {
    "g": EVENT_GENERIC,
    "$": EVENT_STRING,
    "l": EVENT_LIST,
    "s": EVENT_SET,
    "h": EVENT_HASH,
    "z": EVENT_SORTED_SET,
    "x": EVENT_EXPIRED,
    "e": EVENT_EVICTED,
    "t": EVENT_STREAM,
    "m": EVENT_MISS,
    "n": EVENT_NEW,
}
# What the letter A stands for: everything but misses and new keys, as in Redis.
_ALL: Final = "g$lshzxetd"


class KeyspaceEvents:
    """Publishes the events of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.is_by_key = False
        self.is_by_event = False
        state.config.on_change("notify-keyspace-events", self.follow_config)
        self.follow_config()

    def follow_config(self) -> str:
        """Publish from now on what the directive asks for; called at the start and when it changes."""
        letters = self.state.config.notify_keyspace_events
        self.is_by_key = "K" in letters
        self.is_by_event = "E" in letters
        classes = 0
        for letter in letters.replace("A", _ALL):
            classes |= _CLASSES.get(letter, 0)
        self.state.event_classes = classes if self.is_by_key or self.is_by_event else 0
        for keyspace in self.state.keyspaces:
            keyspace.on_created = self.key_created if self.state.event_classes & EVENT_NEW else None
        return ""

    def notify(self, database: int, event_class: int, event: bytes, key: bytes) -> None:
        """Publish one event if its class is asked for."""
        if not self.state.event_classes & event_class:
            return
        pubsub = self.state.pubsub
        if self.is_by_key:
            pubsub.publish(b"__keyspace@%d__:%b" % (database, key), event)
        if self.is_by_event:
            pubsub.publish(b"__keyevent@%d__:%b" % (database, event), key)

    def key_created(self, database: int, key: bytes) -> None:
        """Notify that a key is new, unless it comes from a file."""
        if not self.state.gates & GATE_LOADING:
            self.notify(database, EVENT_NEW, b"new", key)
