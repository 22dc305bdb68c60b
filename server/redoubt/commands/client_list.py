"""What a connection looks like in CLIENT LIST, and the filters of CLIENT LIST and CLIENT KILL.

The line has the fields of Redis 7.2 in their order, since tools parse it. Fields that describe memory which
this server does not have (a fixed reply buffer, a free part of the query buffer) are 0; `fd` is -1: the node
knows no descriptors.

Used by `redoubt.commands.client` only. Source: the page of CLIENT LIST in the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import SYNTAX_ERROR, Arguments, integer
from redoubt.memory_report import session_bytes
from redoubt.pubsub import CHANNEL, PATTERN, SHARD_CHANNEL
from redoubt.resp.replies import CommandError
from redoubt.session import CLASS_PUBSUB, GATE_MULTI, GATE_NO_TOUCH

if TYPE_CHECKING:
    from redoubt.access.user import User
    from redoubt.session import Session

TYPES: Final = (b"normal", b"master", b"replica", b"pubsub")


class Filter:
    """Which connections are meant; what is not set does not exclude."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.kind = b""
        self.peer = ""
        self.local = ""
        self.user: User | None = None
        # Not connected later than this; 0: whenever.
        self.created_ms_max = 0
        # A connection that is never meant: SKIPME.
        self.spared: Session | None = None

    def fits(self, session: Session) -> bool:
        """Say whether this connection is meant."""
        return (
            (not self.ids or session.session_id in self.ids)
            and (not self.kind or self.kind == client_type(session))
            and (not self.peer or self.peer == session.peer)
            and (not self.local or self.local == session.local)
            and (self.user is None or session.user is self.user)
            and (not self.created_ms_max or session.created_ms <= self.created_ms_max)
            and session is not self.spared
        )


def list_filter(arguments: Arguments) -> Filter:
    """Read the filter of CLIENT LIST: TYPE or ID, not both."""
    chosen = Filter()
    if not arguments.has_more():
        return chosen
    if arguments.skip_with_value(b"TYPE") and arguments.left() == 1:
        chosen.kind = _type(arguments.word())
    elif arguments.skip_with_value(b"ID"):
        chosen.ids = {_listed_id(word) for word in arguments.rest()}
    else:
        raise arguments.syntax_error()
    return chosen


def kill_filter(arguments: Arguments, ctx: Session) -> Filter:
    """Read the filters of CLIENT KILL; without SKIPME no the asking connection is spared."""
    chosen = Filter()
    chosen.spared = ctx
    while arguments.left() >= 2:
        option = arguments.keyword()
        word = arguments.word()
        if option == b"ID":
            chosen.ids = {_killed_id(word)}
        elif option == b"TYPE":
            chosen.kind = _type(word)
        elif option == b"ADDR":
            chosen.peer = word.decode("latin-1")
        elif option == b"LADDR":
            chosen.local = word.decode("latin-1")
        elif option == b"USER":
            chosen.user = ctx.state.users.by_name.get(word)
            if chosen.user is None:
                raise CommandError(b"ERR No such user '%s'" % word[:128])
        elif option == b"MAXAGE":
            chosen.created_ms_max = ctx.state.now_ms - _age_s(word) * 1000
        elif option == b"SKIPME" and word.lower() in (b"yes", b"no"):
            chosen.spared = ctx if word.lower() == b"yes" else None
        else:
            raise CommandError(SYNTAX_ERROR)
    arguments.end()
    return chosen


def _listed_id(word: bytes) -> int:
    return integer(word, b"ERR Invalid client ID")


def _age_s(word: bytes) -> int:
    age_s = integer(word, b"ERR maxage is not an integer or out of range")
    if age_s < 1:
        raise CommandError(b"ERR maxage should be greater than 0")
    return age_s


def _killed_id(word: bytes) -> int:
    error = b"ERR client-id should be greater than 0"
    number = integer(word, error)
    if number < 1:
        raise CommandError(error)
    return number


def _type(word: bytes) -> bytes:
    kind = b"replica" if word.lower() == b"slave" else word.lower()
    if kind not in TYPES:
        raise CommandError(b"ERR Unknown client type '%s'" % word[:128])
    return kind


def client_type(session: Session) -> bytes:
    """Return the class of a connection."""
    if session.is_master_link:
        return b"master"
    if session.is_replica:
        return b"replica"
    return b"pubsub" if session.client_class == CLASS_PUBSUB else b"normal"


def client_line(session: Session) -> bytes:
    """Describe a connection as one line of CLIENT LIST, without its end."""
    username = session.user.name.decode("latin-1")
    input_bytes = session.parser.pending_bytes()
    unsent_bytes = session.unsent_bytes + sum(map(len, session.out))
    argument_bytes = sum(map(len, session.postponed or []))
    transaction = session.transaction
    queued_count = -1 if transaction is None else len(transaction.calls)
    queued_bytes = 0 if transaction is None else transaction.size_bytes
    subscriptions = session.subscriptions
    listening = [0, 0, 0] if subscriptions is None else [len(names) for names in subscriptions.names]
    now_ms = session.state.now_ms
    fields = (
        f"id={session.session_id} addr={session.peer} laddr={session.local} fd=-1 "
        f"name={session.name.decode('latin-1')} age={(now_ms - session.created_ms) // 1000} "
        f"idle={(now_ms - session.active_ms) // 1000} flags={_flags(session)} db={session.database} "
        f"sub={listening[CHANNEL]} psub={listening[PATTERN]} ssub={listening[SHARD_CHANNEL]} "
        f"multi={queued_count} "
        f"qbuf={input_bytes} qbuf-free=0 argv-mem={argument_bytes} multi-mem={queued_bytes} rbs=0 rbp=0 "
        f"obl=0 oll={len(session.out)} omem={unsent_bytes} "
        f"tot-mem={session_bytes(session)} "
        f"events={'' if session.is_paused else 'r'}{'w' if unsent_bytes else ''} "
        f"cmd={session.row.name if session.row else 'NULL'} user={username} "
        f"redir={-1 if session.tracking is None else session.tracking.redirect_id} resp={session.resp} "
        f"lib-name={session.library_name.decode('latin-1')} "
        f"lib-ver={session.library_version.decode('latin-1')}"
    )
    return fields.encode("latin-1")


def _flags(session: Session) -> str:
    """Name what is particular about a connection, one letter each; N if nothing is."""
    tracking = session.tracking
    letters = (
        ("O", session.is_monitor),
        ("S", session.is_replica),
        ("M", session.is_master_link),
        ("P", session.client_class == CLASS_PUBSUB),
        ("x", bool(session.own_gates & GATE_MULTI)),
        ("b", session.is_blocked),
        ("t", tracking is not None),
        ("R", tracking is not None and tracking.is_redirect_broken),
        ("B", tracking is not None and tracking.is_broadcast),
        ("d", session.watched is not None and session.watched.is_changed),
        ("c", session.closes_after_flush),
        ("r", session.is_readonly),
        ("e", session.is_eviction_exempt),
        ("T", bool(session.own_gates & GATE_NO_TOUCH)),
    )
    return "".join(letter for letter, is_set in letters if is_set) or "N"
