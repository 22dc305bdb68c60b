"""Whether a user may make a call: the command, every key with what is done to it, every channel.

Each selector of the user is asked on its own, since one of them must permit the whole call. If none does, the
refusal that came furthest is the one that is told: a key or channel rather than the command, and of those the
last. A command that anybody may run (AUTH, HELLO, QUIT, RESET) is not asked for.

`refusal` is called by the admission of a command for users who are restricted at all, and by scripts and
EXEC for what they run; `denial` by ACL DRYRUN.
Source: the ACL page of the Redis documentation; the texts are those of Redis 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.access.denials import DENIED_CHANNEL, DENIED_COMMAND, DENIED_KEY
from redoubt.access.selector import READ, WRITE, Selector
from redoubt.commands.call_keys import UsedKey, used_keys
from redoubt.commands.declare import MOVABLE_KEYS, NO_AUTH, Row
from redoubt.commands.keyspecs import ACCESS, DELETE, INSERT, NOT_KEY, UPDATE
from redoubt.resp.replies import ErrorReply

if TYPE_CHECKING:
    from redoubt.access.user import User
    from redoubt.session import Session

# Where channels stand in a call: from this word on, up to that one (-1: the last), and whether as patterns.
CHANNELS: Final = {
    "publish": (1, 1, False),
    "spublish": (1, 1, False),
    "subscribe": (1, -1, False),
    "ssubscribe": (1, -1, False),
    "psubscribe": (1, -1, True),
}


class Refusal:
    """Why a call is refused; `at` orders refusals of the same kind."""

    def __init__(self, reason: int, what: bytes, at: int) -> None:
        self.reason = reason
        self.what = what
        self.at = at

    def text(self, user: User, row: Row, names_key: bool) -> bytes:
        """Say it as Redis does; names_key: whether to name the key or channel."""
        if self.reason == DENIED_COMMAND:
            return b"User %s has no permissions to run the '%s' command" % (user.name, row.name.encode())
        kind = b"key" if self.reason == DENIED_KEY else b"channel"
        if names_key:
            return b"User %s has no permissions to access the '%s' %s" % (user.name, self.what, kind)
        return b"No permissions to access a " + kind


class _Call:
    """A call, and its keys once somebody has asked for them."""

    def __init__(self, row: Row, argv: list[bytes]) -> None:
        self.row = row
        self.argv = argv
        self.used: list[UsedKey] | None = None

    def list_keys(self) -> list[UsedKey]:
        """List the keys; none of a malformed call, which ends in an error anyway."""
        if self.used is None:
            self.used = used_keys(self.row, self.argv) or []
        return self.used


def refusal(ctx: Session, row: Row, argv: list[bytes], context: bytes = b"") -> ErrorReply | None:
    """Return the NOPERM error if the session's user may not make this call, and log it."""
    denied = denied_to(ctx, row, argv, context)
    return None if denied is None else ErrorReply(b"NOPERM " + denied.text(ctx.user, row, False))


def denied_to(ctx: Session, row: Row, argv: list[bytes], context: bytes = b"") -> Refusal | None:
    """Say why the session's user may not make this call, and log it; context: IN_SCRIPT for scripts."""
    denied = denial(ctx.user, row, argv)
    if denied is not None:
        ctx.row = row
        ctx.state.users.denials.note(ctx, denied.reason, denied.what, context=context)
    return denied


def denial(user: User, row: Row, argv: list[bytes]) -> Refusal | None:
    """Return why the user may not make this call; None if it may."""
    if _is_plainly_permitted(user.root, row, argv):
        return None
    call = _Call(row, argv)
    worst: Refusal | None = None
    for selector in user.selectors():
        found = _refused_by(selector, call)
        if found is None:
            return None
        if worst is None or (found.reason, found.at) > (worst.reason, worst.at):
            worst = found
    return worst


def _is_plainly_permitted(selector: Selector, row: Row, argv: list[bytes]) -> bool:
    """Say yes at little cost where one key stands at a fixed place, as for most commands; no: look closer."""
    if len(row.key_specs) != 1 or row.first_key == 0 or row.first_key != row.last_key:
        return False
    use = row.key_specs[0].use
    if use & NOT_KEY or row.flags & MOVABLE_KEYS or not selector.may_run(row, argv):
        return False
    # What varies from call to call does at most what the specification says.
    return selector.may_use_key(argv[row.first_key], permission_for(use))


def may_read_every_key(user: User, row: Row, argv: list[bytes]) -> bool:
    """Say whether one selector permits this call and the reading of any key (SORT with BY or GET)."""
    call = _Call(row, argv)
    for selector in user.selectors():
        if _refused_by(selector, call) is None and selector.may_use_every_key(READ):
            return True
    return False


def _refused_by(selector: Selector, call: _Call) -> Refusal | None:
    row, argv = call.row, call.argv
    if not row.flags & NO_AUTH and not selector.may_run(row, argv):
        return Refusal(DENIED_COMMAND, row.name.encode(), 0)
    if not selector.has_all_keys and row.key_specs:
        for key in call.list_keys():
            if not selector.may_use_key(key.key, permission_for(key.use)):
                return Refusal(DENIED_KEY, key.key, key.at)
    if not selector.has_all_channels:
        place = CHANNELS.get(row.name)
        if place is not None:
            first, last, is_pattern = place
            for at in range(first, len(argv) if last < 0 else last + 1):
                if not selector.may_use_channel(argv[at], is_pattern):
                    return Refusal(DENIED_CHANNEL, argv[at], at)
    return None


def permission_for(use: int) -> int:
    """Return what a user must be allowed to do with a key that is used so."""
    return (READ if use & ACCESS else 0) | (WRITE if use & (INSERT | DELETE | UPDATE) else 0)
