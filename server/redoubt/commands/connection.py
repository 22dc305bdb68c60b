"""The commands about one's own connection: PING, ECHO, QUIT, RESET, SELECT, AUTH and HELLO.

A connection begins as the user `default`; AUTH, and HELLO with AUTH, make it another's, and RESET makes it as
it was when it was opened. Who may log in, and what that means for the connection, is decided in
`redoubt.access.users`.

The dispatcher runs these. CLIENT is in `redoubt.commands.client`, ACL in `redoubt.commands.acl`.
Source: the pages of the connection group in the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.access.users import DEFAULT
from redoubt.commands.arguments import Arguments, integer
from redoubt.commands.declare import (
    ALLOW_BUSY,
    CONNECTION,
    FAST,
    LOADING,
    NO_AUTH,
    NOSCRIPT,
    STALE,
    STOPS_ON_DISK_ERROR,
    SUBSCRIBED,
    UNQUEUED,
    command,
)
from redoubt.pubsub import update_subscriber_gate
from redoubt.resp.replies import OK, PONG, CommandError, ErrorReply, MapReply, Reply, SimpleString
from redoubt.session import GATE_AUTH, GATE_NO_TOUCH, GATE_SUBSCRIBER, REPLIES_ON
from redoubt.version import REDIS_VERSION

if TYPE_CHECKING:
    from redoubt.session import Session

RESET_DONE: Final = SimpleString(b"RESET")
WRONG_PASSWORD: Final = ErrorReply(b"WRONGPASS invalid username-password pair or user is disabled.")
NO_PASSWORD_SET: Final = ErrorReply(
    b"ERR AUTH <password> called without any password configured for the default user. "
    b"Are you sure your configuration is correct?"
)
HELLO_NEEDS_AUTH: Final = ErrorReply(
    b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
    b"<user> <pass> option can be used to authenticate the client and select the RESP protocol version at "
    b"the same time"
)
BEFORE_AUTH: Final = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY


@command(
    "PING", "[message]", group=CONNECTION, flags=FAST | SUBSCRIBED | STOPS_ON_DISK_ERROR, since="1.0.0",
    complexity="O(1)", summary="Answer PONG, or the message: the connection and the server live.",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
)  # fmt: skip
def ping(ctx: Session, argv: list[bytes]) -> Reply:
    """PING; a RESP2 subscriber gets a message, so that it can tell it from its channels' messages."""
    if len(argv) > 2:
        return ErrorReply(b"ERR wrong number of arguments for 'ping' command")
    if ctx.gates & GATE_SUBSCRIBER and ctx.resp == 2:
        return [b"pong", argv[1] if len(argv) == 2 else b""]
    return argv[1] if len(argv) == 2 else PONG


@command(
    "ECHO", "message", group=CONNECTION, flags=LOADING | STALE | FAST, since="1.0.0", complexity="O(1)",
    summary="Answer the message.",
)  # fmt: skip
def echo(ctx: Session, argv: list[bytes]) -> Reply:
    """ECHO."""
    return argv[1]


@command(
    "QUIT", group=CONNECTION, flags=BEFORE_AUTH | SUBSCRIBED | UNQUEUED, since="1.0.0", complexity="O(1)",
    arity=-1, summary="Close the connection after the replies that are under way.",
)  # fmt: skip
def quit_connection(ctx: Session, argv: list[bytes]) -> Reply:
    """QUIT."""
    ctx.closes_after_flush = True
    return OK


@command(
    "RESET", group=CONNECTION, flags=BEFORE_AUTH | SUBSCRIBED | UNQUEUED, since="6.2.0", complexity="O(1)",
    summary="Bring the connection back to how it was when it was opened.",
)  # fmt: skip
def reset(ctx: Session, argv: list[bytes]) -> Reply:
    """RESET: nothing of what the client has set up on this connection stays."""
    ctx.end_transaction()
    ctx.state.tracking.end(ctx)
    ctx.state.monitors.end(ctx)
    ctx.replies = REPLIES_ON
    ctx.resp = 2
    ctx.state.pubsub.closed(ctx)
    ctx.set_own_gate(GATE_NO_TOUCH, False)
    ctx.name = b""
    ctx.is_eviction_exempt = False
    ctx.is_readonly = False
    ctx.is_asking = False
    select_database(ctx, 0)
    ctx.state.users.opened(ctx)
    return RESET_DONE


@command(
    "SELECT", "index", group=CONNECTION, flags=LOADING | STALE | FAST, since="1.0.0", complexity="O(1)",
    summary="Choose the database that the following commands of this connection use.",
)  # fmt: skip
def select(ctx: Session, argv: list[bytes]) -> Reply:
    """SELECT."""
    index = integer(argv[1])
    if ctx.state.config.cluster_enabled and index != 0:
        return ErrorReply(b"ERR SELECT is not allowed in cluster mode")
    if not 0 <= index < len(ctx.state.keyspaces):
        return ErrorReply(b"ERR DB index is out of range")
    select_database(ctx, index)
    return OK


def select_database(ctx: Session, index: int) -> None:
    """Make the database with this index, which exists, the session's."""
    ctx.database = index
    ctx.db = ctx.state.keyspaces[index]


@command(
    "AUTH", "[username] password", group=CONNECTION, flags=BEFORE_AUTH, since="1.0.0", complexity="O(1)",
    summary="Show the password, so that the other commands may be used.",
)  # fmt: skip
def auth(ctx: Session, argv: list[bytes]) -> Reply:
    """AUTH [username] password."""
    if len(argv) > 3:
        return ErrorReply(b"ERR syntax error")
    users = ctx.state.users
    if len(argv) == 2 and users.default.is_nopass:
        return NO_PASSWORD_SET
    username = argv[1] if len(argv) == 3 else DEFAULT
    return OK if users.log_in(ctx, username, argv[-1], argv[0]) else WRONG_PASSWORD


@command(
    "HELLO", "[protover:integer [AUTH username password] [SETNAME clientname]]", group=CONNECTION,
    flags=BEFORE_AUTH, since="6.0.0", complexity="O(1)",
    summary="Choose the protocol version, log in and name the connection in one step; describe the server.",
)  # fmt: skip
def hello(ctx: Session, argv: list[bytes]) -> Reply:
    """HELLO: nothing is changed unless every option is right."""
    arguments = Arguments(argv)
    version = ctx.resp
    if arguments.has_more():
        version = arguments.integer(b"ERR Protocol version is not an integer or out of range")
        if version not in (2, 3):
            return ErrorReply(b"NOPROTO unsupported protocol version")
    credentials: list[bytes] = []
    name: bytes | None = None
    while arguments.has_more():
        option = arguments.word()
        if option.upper() == b"AUTH" and arguments.left() >= 2:
            credentials = [arguments.word(), arguments.word()]
        elif option.upper() == b"SETNAME" and arguments.has_more():
            name = checked_name(arguments.word())
        else:
            return ErrorReply(b"ERR Syntax error in HELLO option '%s'" % option[:128])
    if credentials and not ctx.state.users.log_in(ctx, credentials[0], credentials[1], argv[0]):
        return WRONG_PASSWORD
    if ctx.gates & GATE_AUTH:
        return HELLO_NEEDS_AUTH
    if name is not None:
        ctx.name = name
    ctx.resp = version
    update_subscriber_gate(ctx)
    return describe(ctx)


def checked_name(name: bytes, what: bytes = b"Client names") -> bytes:
    """Return the name if it could stand in a line of CLIENT LIST."""
    if any(byte < 0x21 or byte > 0x7E for byte in name):
        raise CommandError(b"ERR %s cannot contain spaces, newlines or special characters." % what)
    return name


def is_permitted(ctx: Session, permission: str) -> bool:
    """Read a directive of the kind `no`, `yes`, `local`: only for clients of this machine."""
    is_local = ctx.peer.startswith(("127.", "[::1]", "/")) or not ctx.peer
    return permission == "yes" or (permission == "local" and is_local)


def describe(ctx: Session) -> MapReply:
    """Make the reply of HELLO."""
    state = ctx.state
    return MapReply(
        [
            (b"server", b"redis"),
            (b"version", REDIS_VERSION.encode()),
            (b"proto", ctx.resp),
            (b"id", ctx.session_id),
            (b"mode", b"cluster" if state.config.cluster_enabled else b"standalone"),
            (b"role", b"replica" if state.replication.is_replica else b"master"),
            (b"modules", []),
        ]
    )
