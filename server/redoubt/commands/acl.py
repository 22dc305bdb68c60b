"""ACL: making, changing, showing and trying users.

What users are and what follows from changing one is in `redoubt.access`; here are arguments and replies.
Users that are made here live as long as the process, unless ACL SAVE or CONFIG REWRITE writes them down;
they are not replicated, each server has its own, as in Redis.

The dispatcher runs these. ACL LOG, SAVE and LOAD are in `redoubt.commands.acl_records`.
Source: the ACL pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.access.check import denial
from redoubt.access.selector import Selector, every_row, has_spaces
from redoubt.access.users import DEFAULT
from redoubt.commands.arguments import integer
from redoubt.commands.declare import (
    ADMIN,
    CATEGORIES,
    LOADING,
    NOSCRIPT,
    SERVER,
    STALE,
    command,
    container,
    find,
)
from redoubt.resp.replies import OK, ErrorReply, MapReply, Reply, SetReply

if TYPE_CHECKING:
    from redoubt.session import Session

OPEN: Final = NOSCRIPT | LOADING | STALE
MANAGEMENT: Final = ADMIN | OPEN
EVERYWHERE: Final = ("request_policy:all_nodes", "response_policy:all_succeeded")
PASSWORD_BITS: Final = 256
PASSWORD_BITS_MAX: Final = 4096

container("ACL", group=SERVER, since="6.0.0", summary="Manage users and what they may do.")


@command(
    "ACL SETUSER", "username [rule [rule ...]]", group=SERVER, flags=MANAGEMENT, since="6.0.0",
    complexity="O(N) for N rules", summary="Make a user, or change one, by rules: all of them or none.",
    tips=EVERYWHERE,
)  # fmt: skip
def acl_setuser(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL SETUSER."""
    if has_spaces(argv[2]):
        return ErrorReply(b"ERR Usernames can't contain spaces or null characters")
    ctx.state.users.set_user(argv[2], argv[3:])
    return OK


@command(
    "ACL DELUSER", "username [username ...]", group=SERVER, flags=MANAGEMENT, since="6.0.0",
    complexity="O(N) for N connections", summary="Remove users and close their connections.",
    tips=EVERYWHERE,
)  # fmt: skip
def acl_deluser(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL DELUSER: the number of users there were."""
    if DEFAULT in argv[2:]:
        return ErrorReply(b"ERR The 'default' user cannot be removed")
    return sum([ctx.state.users.delete(name, ctx) for name in argv[2:]])


@command(
    "ACL GETUSER", "username", group=SERVER, flags=MANAGEMENT, since="6.0.0",
    complexity="O(N) for N rules of the user", summary="Return what a user is and may do.",
)  # fmt: skip
def acl_getuser(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL GETUSER."""
    user = ctx.state.users.by_name.get(argv[2])
    if user is None:
        return None
    others: list[Reply] = [MapReply(_permissions(selector)) for selector in user.others]
    return MapReply(
        [
            (b"flags", SetReply(list(user.flags()))),
            (b"passwords", list(user.digests)),
            *_permissions(user.root),
            (b"selectors", others),
        ]
    )


def _permissions(selector: Selector) -> list[tuple[Reply, Reply]]:
    return [
        (b"commands", selector.describe_commands()),
        (b"keys", selector.describe_keys()),
        (b"channels", selector.describe_channels()),
    ]


@command(
    "ACL LIST", group=SERVER, flags=MANAGEMENT, since="6.0.0", complexity="O(N) for N users",
    summary="Return all users as lines of a configuration file.",
)  # fmt: skip
def acl_list(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL LIST."""
    return list(ctx.state.users.lines())


@command(
    "ACL USERS", group=SERVER, flags=MANAGEMENT, since="6.0.0", complexity="O(N) for N users",
    summary="Return the names of all users.",
)  # fmt: skip
def acl_users(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL USERS."""
    return list(ctx.state.users.names())


@command(
    "ACL WHOAMI", group=SERVER, flags=OPEN, since="6.0.0", complexity="O(1)",
    summary="Return the user of this connection.",
)  # fmt: skip
def acl_whoami(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL WHOAMI."""
    return ctx.user.name


@command(
    "ACL CAT", "[category]", group=SERVER, flags=OPEN, since="6.0.0", complexity="O(N) for N commands",
    summary="Return the categories of commands, or the commands of one.",
)  # fmt: skip
def acl_cat(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL CAT."""
    if len(argv) > 3:
        return _wrong_words(argv[1])
    if len(argv) == 2:
        return [category.encode() for category in CATEGORIES]
    category = argv[2].lower().decode("latin-1")
    if category not in CATEGORIES:
        return ErrorReply(b"ERR Unknown category '%s'" % argv[2][:128].split(b"\0")[0])
    return [row.name.encode() for row in every_row() if category in row.categories]


@command(
    "ACL GENPASS", "[bits:integer]", group=SERVER, flags=OPEN, since="6.0.0", complexity="O(1)",
    summary="Return random bits, 256 unless otherwise said, as a password in hexadecimal digits.",
)  # fmt: skip
def acl_genpass(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL GENPASS: the bits come from the operating system, not from the server's generator."""
    if len(argv) > 3:
        return _wrong_words(argv[1])
    bits = integer(argv[2]) if len(argv) == 3 else PASSWORD_BITS
    if not 0 < bits <= PASSWORD_BITS_MAX:
        return ErrorReply(
            b"ERR ACL GENPASS argument must be the number of bits for the output password, a positive number "
            b"up to %d" % PASSWORD_BITS_MAX
        )
    digits = (bits + 3) // 4
    return ctx.state.process.unguessable((digits + 1) // 2).hex().encode()[:digits]


@command(
    "ACL DRYRUN", "username command [arg [arg ...]]", group=SERVER, flags=MANAGEMENT, since="7.0.0",
    complexity="O(1)", summary="Say whether a user might make a call, without making it.",
)  # fmt: skip
def acl_dryrun(ctx: Session, argv: list[bytes]) -> Reply:
    """ACL DRYRUN: OK, or why not."""
    user = ctx.state.users.by_name.get(argv[2])
    if user is None:
        return ErrorReply(b"ERR User '%s' not found" % argv[2])
    call = argv[3:]
    row = find(call)
    if isinstance(row, ErrorReply):
        return ErrorReply(b"ERR Command '%s' not found" % argv[3])
    if not row.argc_min <= len(call) <= row.argc_max:
        return ErrorReply(b"ERR wrong number of arguments for '%s' command" % row.name.encode())
    denied = denial(user, row, call)
    return OK if denied is None else denied.text(user, row, True)


def _wrong_words(subcommand: bytes) -> ErrorReply:
    text = b"ERR unknown subcommand or wrong number of arguments for '%s'. Try ACL HELP."
    return ErrorReply(text % subcommand[:128])
