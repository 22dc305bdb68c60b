"""WATCH: which keys a client's next EXEC depends on, and whether any of them has changed.

A change of a watched key marks the clients that watch it, and that is all: the mark makes their EXEC answer
nil. What counts is what a reader could see. A key that had expired already when it was watched, but was still
in the table, may be deleted without anybody noticing; a key that expires after it was watched counts as
changed, deleted or not, which is found out at EXEC. A flush or SWAPDB changes the keys that exist before or
after it.

Owned by the server's state. Used by `redoubt.commands.transaction`, told by the keyspaces.
Source: the page on transactions in the Redis documentation; the cases of expired keys: Redis `src/multi.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redoubt.hooks import KeyListener

if TYPE_CHECKING:
    from redoubt.data.keyspace import Keyspace
    from redoubt.session import Session
    from redoubt.state import ServerState


class Watched:
    """The keys of one client: by database and key, whether it had expired when it was watched."""

    def __init__(self) -> None:
        self.keys: dict[tuple[int, bytes], bool] = {}
        self.is_changed = False


class Watches(KeyListener):
    """The watched keys of one server; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        # By database and key: the clients by number.
        self.watching: dict[int, dict[bytes, dict[int, Session]]] = {}

    def watch(self, ctx: Session, key: bytes) -> None:
        """Have the next EXEC of this client depend on a key; one is changed already: nothing can be added."""
        watched = ctx.watched
        if watched is None:
            watched = ctx.watched = Watched()
        if watched.is_changed or (ctx.database, key) in watched.keys:
            return
        watched.keys[(ctx.database, key)] = is_expired(ctx.db, key, self.state.now_ms)
        by_key = self.watching.get(ctx.database)
        if by_key is None:
            by_key = self.watching[ctx.database] = {}
            ctx.db.listen(self)
        by_key.setdefault(key, {})[ctx.session_id] = ctx

    def forget(self, ctx: Session) -> None:
        """Have the client watch nothing: UNWATCH, EXEC, DISCARD, or its end."""
        if ctx.watched is not None:
            self._release(ctx, ctx.watched)
            ctx.watched = None

    def has_changed(self, ctx: Session) -> bool:
        """Say whether a key that the client watches has changed, or has expired by now."""
        watched = ctx.watched
        if watched is None:
            return False
        for (database, key), was_expired in watched.keys.items():
            if not was_expired and is_expired(self.state.keyspaces[database], key, self.state.now_ms):
                return True
        return watched.is_changed

    def watched_count(self) -> int:
        """Count the keys that somebody watches (INFO clients)."""
        return sum([len(by_key) for by_key in self.watching.values()])

    def watching_count(self) -> int:
        """Count the clients that watch keys (INFO clients)."""
        return sum(
            [1 for ctx in self.state.sessions.values() if ctx.watched is not None and ctx.watched.keys]
        )

    # Keys change.

    def key_changed(self, database: int, key: bytes) -> None:
        """Mark who watches this key, unless it was expired before and has only been deleted now."""
        clients = self.watching[database].get(key)
        if clients is None:
            return
        is_gone = self.state.keyspaces[database].get(key) is None
        for ctx in list(clients.values()):
            self._touch(ctx, (database, key), is_gone)

    def database_changed(self, database: int) -> None:
        """Mark who watches a key that exists: it is about to be deleted, or has just arrived."""
        keyspace = self.state.keyspaces[database]
        for key, clients in list(self.watching[database].items()):
            if keyspace.get(key) is not None:
                for ctx in list(clients.values()):
                    self._touch(ctx, (database, key), True)

    def database_swapped(self, keyspace: Keyspace, other: Keyspace) -> None:
        """Mark who watches a key that exists here or there, except where it is expired before and after."""
        now_ms = self.state.now_ms
        for key, clients in list(self.watching[keyspace.database].items()):
            is_here = keyspace.get(key) is not None
            is_there = other.get(key) is not None
            arrives_expired = is_there and is_expired(other, key, now_ms)
            for ctx in list(clients.values()):
                place = (keyspace.database, key)
                assert ctx.watched is not None
                if ctx.watched.keys[place]:
                    if not arrives_expired:
                        self._touch(ctx, place, not is_there)
                elif not is_here and arrives_expired:
                    ctx.watched.keys[place] = True
                elif is_here or is_there:
                    self._touch(ctx, place, False)

    def _touch(self, ctx: Session, place: tuple[int, bytes], is_gone: bool) -> None:
        """Mark a client, unless its key was expired anyway and is only gone now."""
        watched = ctx.watched
        assert watched is not None
        if is_gone and watched.keys[place]:
            watched.keys[place] = False
            return
        watched.is_changed = True
        self._release(ctx, watched)

    def _release(self, ctx: Session, watched: Watched) -> None:
        for database, key in watched.keys:
            by_key = self.watching[database]
            clients = by_key[key]
            del clients[ctx.session_id]
            if not clients:
                del by_key[key]
            if not by_key:
                del self.watching[database]
                self.state.keyspaces[database].unlisten(self)
        watched.keys = {}


def is_expired(keyspace: Keyspace, key: bytes, now_ms: int) -> bool:
    """Say whether the key is in the table although its time has come."""
    return 0 < keyspace.expire_at(key) < now_ms
