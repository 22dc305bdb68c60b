"""Clients that wait for keys: who waits for which key, which keys have become ready, who is served next.

A blocking command that finds nothing names its keys and a `KeyWaiter`. From then on every change of one of
these keys marks it as ready, and after the command (or EXEC, or script) that changed it the waiters are
served: keys in the order in which they became ready, clients in the order in which they began to wait. What
a waiter does may make further keys ready (BLMOVE), which come after those that are ready already.

A waiter is served as if its command ran now, on behalf of its client: what it changes is propagated as the
decision it is (the popped element), and an error, such as a target of another type, is its reply. A waiter
that cannot be served, because the key holds something else or somebody before it took everything, goes on
waiting in its place.

Owned by `redoubt.blocking`; the dispatcher calls `serve`. It parses no command and looks into no value.
Source: the page of BLPOP in the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.hooks import KeyListener
from redoubt.resp.replies import NO_REPLY

if TYPE_CHECKING:
    from redoubt.blocking import KeyWaiter
    from redoubt.session import Session
    from redoubt.state import ServerState


class KeyWaits(KeyListener):
    """The waits for keys of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        # By database and key: the waiting clients by number, in the order in which they began to wait.
        self.waiting: dict[int, dict[bytes, dict[int, Session]]] = {}
        # Keys that are in the dispatcher's list of ready ones.
        self._ready: set[tuple[int, bytes]] = set()

    def add(self, ctx: Session, waiter: KeyWaiter) -> None:
        """Have a client wait for the keys of its waiter."""
        by_key = self.waiting.get(ctx.database)
        if by_key is None:
            by_key = self.waiting[ctx.database] = {}
            ctx.db.listen(self)
        for key in waiter.keys:
            by_key.setdefault(key, {})[ctx.session_id] = ctx

    def remove(self, ctx: Session, waiter: KeyWaiter) -> None:
        """Have a client wait no more."""
        by_key = self.waiting[waiter.database]
        for key in waiter.keys:
            clients = by_key.get(key)
            if clients is not None:
                clients.pop(ctx.session_id, None)
                if not clients:
                    del by_key[key]
        if not by_key:
            del self.waiting[waiter.database]
            self.state.keyspaces[waiter.database].unlisten(self)

    def sessions(self) -> list[Session]:
        """List the clients that wait for keys."""
        found: dict[int, Session] = {}
        for by_key in self.waiting.values():
            for clients in by_key.values():
                found.update(clients)
        return list(found.values())

    def blocking_keys(self) -> int:
        """Count the keys that somebody waits for (INFO clients)."""
        return sum([len(by_key) for by_key in self.waiting.values()])

    def deletion_keys(self) -> int:
        """Count the keys whose deletion somebody waits for (INFO clients)."""
        count = 0
        for by_key in self.waiting.values():
            for clients in by_key.values():
                if any(ctx.waiter is not None and ctx.waiter.sees_deletion for ctx in clients.values()):
                    count += 1
        return count

    # Keys change.

    def key_changed(self, database: int, key: bytes) -> None:
        """Note a key that somebody waits for; a deleted one only for those who wait for that, too."""
        clients = self.waiting[database].get(key)
        if clients is None or (database, key) in self._ready:
            return
        if self.state.keyspaces[database].get(key) is None and not any(
            ctx.waiter is not None and ctx.waiter.sees_deletion for ctx in clients.values()
        ):
            return
        self._note(database, key)

    def database_changed(self, database: int) -> None:
        """Note every key that somebody waits for: what has become of it is seen when it is served."""
        for key in self.waiting[database]:
            self._note(database, key)

    def wake(self, database: int, key: bytes) -> None:
        """Let who waits for a key look again, although only something in it has gone: a consumer group."""
        if key in self.waiting.get(database, {}):
            self._note(database, key)

    def _note(self, database: int, key: bytes) -> None:
        if (database, key) not in self._ready:
            self._ready.add((database, key))
            self.state.dispatcher.ready_keys.append((database, key))

    # Clients are served.

    def serve(self, ready: list[tuple[int, bytes]]) -> None:
        """Serve who waits for these keys, and for those that become ready by that, until none is left."""
        while ready:
            round_keys = ready[:]
            ready.clear()
            for place in round_keys:
                self._ready.discard(place)
                by_key = self.waiting.get(place[0])
                clients = None if by_key is None else by_key.get(place[1])
                if clients is not None:
                    self._serve_key(list(clients.values()), place[0], place[1])

    def _serve_key(self, clients: list[Session], database: int, key: bytes) -> None:
        """Serve the clients of one key in turn, while there is something left to be served."""
        keyspace = self.state.keyspaces[database]
        for ctx in clients:
            waiter = ctx.waiter
            if waiter is None or ctx.is_closed:
                continue
            if keyspace.get(key) is None and not waiter.sees_deletion:
                continue
            reply = self.state.dispatcher.serve(ctx, waiter, key)
            if reply is not NO_REPLY:
                self.state.blocking.unblock(ctx, reply)
