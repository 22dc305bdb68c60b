"""The commands of replication: REPLICAOF, ROLE, WAIT, WAITAOF, and what replicas and masters say.

PSYNC, SYNC and REPLCONF are the replica's side of the conversation, spoken to us as a master; their replies
are not always replies, so PSYNC answers through the link itself. The decisions are in
`redoubt.replication.roles` and `redoubt.replication.master`.
Rules: the Redis command reference; the error texts are Redis's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments, integer
from redoubt.commands.declare import (
    ADMIN,
    ALLOW_BUSY,
    BLOCKING,
    FAST,
    GENERIC,
    LOADING,
    NEEDS_ROLE,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    SERVER,
    STALE,
    command,
)
from redoubt.replication.failover import Failover
from redoubt.replication.master import WaitForDisks
from redoubt.replication.peer import ONLINE, Peer
from redoubt.replication.replica import ASKING, FLOWING, GREETING, INTRODUCING, MasterLink
from redoubt.replication.roles import Replication
from redoubt.resp.replies import NO_REPLY, OK, CommandError, Reply, SimpleString

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState

ALREADY: Final = SimpleString(b"OK Already connected to specified master")
NO_MASTER_LINK: Final = b"NOMASTERLINK Can't SYNC while not connected with my master"
PENDING_OUTPUT: Final = b"ERR SYNC and PSYNC are invalid with pending output"
WAIT_ON_REPLICA: Final = (
    b"ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is "
    b"configured to be writable (which is not the default) writes to replicas are just local and are not "
    b"propagated."
)
WAITAOF_ON_REPLICA: Final = (
    b"ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just "
    b"local and are not propagated."
)
NOT_LOGGING: Final = b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
# How a partial resync's request that has nothing to continue names its history.
NO_HISTORY: Final = b"?"


def replication_of(state: ServerState) -> Replication:
    """Return the server's replication."""
    replication = state.replication
    assert isinstance(replication, Replication)
    return replication


@command("REPLICAOF", "<host port | NO ONE>", group=SERVER, flags=ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING,
         since="5.0.0", complexity="O(1)",
         summary="Follow another server, or with NO ONE become a master.")  # fmt: skip
def replicaof(ctx: Session, argv: list[bytes]) -> Reply:
    state = ctx.state
    if state.cluster is not None:
        raise CommandError(b"ERR REPLICAOF not allowed in cluster mode.")
    replication = replication_of(state)
    if argv[1].upper() == b"NO" and argv[2].upper() == b"ONE":
        replication.lead(state.now_ms)
        return OK
    if ctx.is_replica:
        raise CommandError(b"ERR Command is not valid when client is a replica.")
    port = integer(argv[2], b"ERR Invalid master port")
    if not 0 <= port <= 65535:
        raise CommandError(b"ERR Invalid master port")
    host = argv[1].decode("latin-1")
    link = replication.link
    if link is not None and link.host == host and link.port == port:
        return ALREADY
    replication.follow(host, port, state.now_ms)
    return OK


@command("SLAVEOF", "<host port | NO ONE>", group=SERVER, flags=ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING,
         since="1.0.0", complexity="O(1)",
         summary="Follow another server, or become a master (older name of REPLICAOF).")  # fmt: skip
def slaveof(ctx: Session, argv: list[bytes]) -> Reply:
    return replicaof(ctx, argv)


@command("ROLE", group=SERVER, flags=NOSCRIPT | LOADING | STALE | FAST, since="2.8.12", complexity="O(1)",
         summary="Return whether the server is master or replica, of whom, and how far.",
         categories=("admin", "dangerous"))  # fmt: skip
def role(ctx: Session, argv: list[bytes]) -> Reply:
    replication = replication_of(ctx.state)
    link = replication.link
    if link is not None:
        stage = role_stage(link)
        offset = replication.offset if link.stage == FLOWING else -1
        return [b"slave", link.host.encode(), link.port, stage, offset]
    replicas: list[Reply] = [
        [peer.ip().encode(), b"%d" % peer.port, b"%d" % peer.ack_offset]
        for peer in replication.master.peers
        if peer.state == ONLINE
    ]
    return [b"master", replication.offset, replicas]


def role_stage(link: MasterLink) -> bytes:
    """Return the stage of the link to our master in the words of ROLE."""
    if link.stage in (GREETING, INTRODUCING, ASKING):
        return b"handshake"
    return link.stage.encode()


@command("WAIT", "numreplicas timeout:integer", group=GENERIC, flags=NOSCRIPT | BLOCKING, since="3.0.0",
         complexity="O(1)", categories=("connection",),
         summary="Wait until so many replicas have acknowledged the writes made so far.",
         tips=("request_policy:all_shards", "response_policy:agg_min"))  # fmt: skip
def wait(ctx: Session, argv: list[bytes]) -> Reply:
    replication = replication_of(ctx.state)
    if replication.is_replica:
        raise CommandError(WAIT_ON_REPLICA)
    count = integer(argv[1])
    timeout_ms = integer(argv[2], b"ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise CommandError(b"ERR timeout is negative")
    acknowledged = replication.master.acknowledged_count(replication.offset)
    if acknowledged >= count or ctx.is_atomic:
        return acknowledged
    deadline_ms = ctx.state.now_ms + timeout_ms if timeout_ms else 0
    replication.master.wait(ctx, count, deadline_ms, replication.offset)
    return NO_REPLY


@command("WAITAOF", "numlocal numreplicas timeout:integer", group=GENERIC, flags=BLOCKING,
         since="7.2.0", complexity="O(1)", categories=("connection",),
         summary="Wait until the writes made so far are durable here and at so many replicas.",
         tips=("request_policy:all_shards", "response_policy:agg_min"))  # fmt: skip
def waitaof(ctx: Session, argv: list[bytes]) -> Reply:
    state = ctx.state
    local_count = integer(argv[1])
    if not 0 <= local_count <= 1:
        raise CommandError(b"ERR value is out of range, must be between 0 and 1")
    count = integer(argv[2])
    if count < 0:
        raise CommandError(b"ERR value is out of range, must be positive")
    timeout_ms = integer(argv[3], b"ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise CommandError(b"ERR timeout is negative")
    replication = replication_of(state)
    if replication.is_replica:
        raise CommandError(WAITAOF_ON_REPLICA)
    if local_count and state.config.appendonly != "yes":
        raise CommandError(NOT_LOGGING)
    deadline_ms = state.now_ms + timeout_ms if timeout_ms else 0
    waiter = WaitForDisks(deadline_ms, replication.master, ctx, local_count, count, replication.offset)
    if waiter.is_met() or ctx.is_atomic:
        return waiter.reply()
    replication.master.wait_for(waiter)
    return NO_REPLY


@command("FAILOVER", "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]", group=SERVER,
         flags=ADMIN | NOSCRIPT | STALE, since="6.2.0", complexity="O(1)",
         summary="Hand the master's role to a replica that has everything.")  # fmt: skip
def failover(ctx: Session, argv: list[bytes]) -> Reply:
    state = ctx.state
    replication = replication_of(state)
    if state.cluster is not None:
        raise CommandError(b"ERR FAILOVER not allowed in cluster mode.")
    if len(argv) == 2 and argv[1].upper() == b"ABORT":
        if replication.failover is None:
            raise CommandError(b"ERR No failover in progress.")
        replication.failover.abort(state.now_ms)
        return OK
    address, timeout_ms, is_forced = _failover_options(argv)
    if replication.failover is not None:
        raise CommandError(b"ERR FAILOVER already in progress.")
    if replication.is_replica:
        raise CommandError(b"ERR FAILOVER is not valid when server is a replica.")
    if not replication.master.peers:
        raise CommandError(b"ERR FAILOVER requires connected replicas.")
    if is_forced and (address is None or not timeout_ms):
        raise CommandError(b"ERR FAILOVER with force option requires both a timeout and target HOST and IP.")
    target = None if address is None else _failover_target(replication, address)
    deadline_ms = state.now_ms + timeout_ms if timeout_ms else 0
    replication.failover = Failover(replication, target, deadline_ms, is_forced)
    return OK


def _failover_options(argv: list[bytes]) -> tuple[tuple[str, int] | None, int, bool]:
    """Read FAILOVER's options: the target's address, the timeout in milliseconds (0: none), FORCE."""
    arguments = Arguments(argv, 1)
    address: tuple[str, int] | None = None
    timeout_ms = 0
    is_forced = False
    while arguments.has_more():
        if arguments.left() > 1 and not timeout_ms and arguments.skip(b"TIMEOUT"):
            timeout_ms = arguments.integer()
            if timeout_ms <= 0:
                raise CommandError(b"ERR FAILOVER timeout must be greater than 0")
        elif arguments.left() > 2 and address is None and arguments.skip(b"TO"):
            host = arguments.word().decode("latin-1")
            address = (host, arguments.integer())
        elif address is not None and not is_forced and arguments.skip(b"FORCE"):
            is_forced = True
        else:
            raise arguments.syntax_error()
    return address, timeout_ms, is_forced


def _failover_target(replication: Replication, address: tuple[str, int]) -> Peer:
    """Find the online replica with this address."""
    for peer in replication.master.peers:
        if (peer.ip(), peer.port) == address:
            if peer.state != ONLINE:
                raise CommandError(b"ERR FAILOVER target replica is not online.")
            return peer
    raise CommandError(b"ERR FAILOVER target HOST and PORT is not a replica.")


@command("REPLCONF", "[argument [argument ...]]", group=SERVER,
         flags=ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY, since="3.0.0", complexity="O(1)",
         summary="Tell the master about the replica, or ask and acknowledge offsets (internal).", arity=-1,
         tips=())  # fmt: skip
def replconf(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) % 2 == 0:
        raise CommandError(b"ERR syntax error")
    replication = replication_of(ctx.state)
    reply: Reply = OK
    for at in range(1, len(argv), 2):
        option, value = argv[at].lower(), argv[at + 1]
        if option == b"ack":
            # The only option that comes often; it is never answered.
            if ctx.is_replica:
                is_logging = len(argv) > at + 3 and argv[at + 2].lower() == b"fack"
                durable = integer(argv[at + 3]) if is_logging else -1
                replication.master.acknowledge(ctx, integer(value), durable)
            return NO_REPLY
        if option == b"getack":
            return NO_REPLY
        _introduce(ctx, replication, option, value)
    return reply


def _introduce(ctx: Session, replication: Replication, option: bytes, value: bytes) -> None:
    """Take one thing that a replica says of itself."""
    peer = replication.master.introduce(ctx)
    if option == b"listening-port":
        peer.port = integer(value)
    elif option == b"ip-address":
        if len(value) > 255:
            raise CommandError(
                b"ERR REPLCONF ip-address provided by replica instance is too long: %d bytes" % len(value)
            )
        peer.announced_ip = value.decode("latin-1")
    elif option == b"capa":
        # Unknown capabilities are ignored: that is what they are for.
        peer.can_eof = peer.can_eof or value.lower() == b"eof"
        peer.is_redoubt = peer.is_redoubt or value.lower() == b"redoubt"
    elif option == b"version":
        peer.version = value.decode("latin-1")
    elif option == b"rdb-only":
        peer.wants_snapshot_only = integer(value) == 1
    elif option == b"rdb-filter-only":
        if value:
            raise CommandError(b"ERR Unsupported rdb-filter-only option: %s" % value)
    else:
        raise CommandError(b"ERR Unrecognized REPLCONF option: %s" % option)


@command("PSYNC", "replicationid offset", group=SERVER, since="2.8.0", complexity="O(1)",
         flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI | NEEDS_ROLE, arity=-3,
         summary="Begin to follow this server, from a place in its history (internal).")  # fmt: skip
def psync(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.is_replica:
        return NO_REPLY
    if len(argv) > 3 and argv[3].upper() == b"FAILOVER":
        _take_over(ctx, argv[1])
    replication = _ready_to_lead(ctx)
    offset = integer(argv[2])
    replid = argv[1].decode("latin-1")
    statistics = ctx.state.statistics
    if argv[1] != NO_HISTORY and replication.can_continue(replid, offset):
        statistics.sync_partial_ok += 1
        replication.master.continue_with(ctx, offset)
        return NO_REPLY
    if argv[1] != NO_HISTORY:
        statistics.sync_partial_err += 1
    replication.master.copy_to(ctx, False)
    return NO_REPLY


def _take_over(ctx: Session, replid: bytes) -> None:
    """Become the master because our master asks for it; it is about to become our replica."""
    replication = replication_of(ctx.state)
    if not replication.is_replica:
        raise CommandError(b"ERR PSYNC FAILOVER can't be sent to a master.")
    if replid != replication.replid.encode():
        raise CommandError(b"ERR PSYNC FAILOVER replid must match my replid.")
    replication.lead(ctx.state.now_ms)


@command("SYNC", group=SERVER, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI | NEEDS_ROLE,
         since="1.0.0", complexity="O(N) for N keys",
         summary="Begin to follow this server with a full copy (internal, older form of PSYNC).")  # fmt: skip
def sync(ctx: Session, argv: list[bytes]) -> Reply:
    if not ctx.is_replica:
        _ready_to_lead(ctx).master.copy_to(ctx, True)
    return NO_REPLY


def _ready_to_lead(ctx: Session) -> Replication:
    """Return the replication, unless this server or this client is in no state for a new replica."""
    replication = replication_of(ctx.state)
    if replication.is_replica and not replication.link_is_up:
        raise CommandError(NO_MASTER_LINK)
    if ctx.out:
        raise CommandError(PENDING_OUTPUT)
    return replication
