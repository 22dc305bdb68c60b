"""The users of one server: who exists, who is logged in, and what follows when one changes.

The user `default` always exists: it is who a connection is until it logs in, and requirepass is its password.
A session holds its user; `GATE_ACL` stands before the commands of sessions whose user is restricted at all,
and `GATE_AUTH` before those that have not logged in while `default` needs a password. Both are set here
whenever a user or a login changes, so that a server without users pays nothing for them.

Users come from `user` lines of the configuration or from the file that `aclfile` names, not from both. They
are not replicated: each server has its own. The dispatcher, AUTH, HELLO, RESET and ACL call this.
Source: the ACL pages of the Redis documentation; error texts as Redis's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.access.denials import DENIED_AUTH, Denials
from redoubt.access.selector import UNKNOWN, RuleError, has_spaces
from redoubt.access.user import User, digest, merged
from redoubt.pubsub import CHANNEL, PATTERN, SHARD_CHANNEL
from redoubt.resp.replies import CommandError
from redoubt.session import GATE_ACL, GATE_AUTH

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState

DEFAULT: Final = b"default"
BOTH_SOURCES: Final = (
    "Users in the configuration file and an aclfile exclude each other: declare the users in one of them."
)
NOTHING_CHANGED: Final = (
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
)


class UsersError(Exception):
    """The users that the configuration names cannot be had; the start must end."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Users:
    """All users by name; see the module's docstring."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.default = User(DEFAULT)
        self.by_name: dict[bytes, User] = {DEFAULT: self.default}
        self.denials = Denials(state)
        _open(self.default)

    def begin(self) -> None:
        """Take the users of the configuration and follow it from now on; raises UsersError."""
        config = self.state.config
        self.set_default_password(config.requirepass)
        if config.aclfile and config.users:
            raise UsersError(BOTH_SOURCES)
        for words in config.users:
            self._configure([word.encode("utf-8", "surrogateescape") for word in words])
        if config.aclfile:
            errors = self.load()
            if errors:
                raise UsersError(f"Aborting the start because of ACL errors: {errors}")
        config.on_change("requirepass", self._password_changed)

    def _password_changed(self) -> str:
        self.set_default_password(self.state.config.requirepass)
        self.changed(self.default)
        return ""

    def set_default_password(self, password: str) -> None:
        """Let this be the only password of `default`; empty: it needs none."""
        self.default.is_nopass = not password
        self.default.digests = [digest(_encoded(password))] if password else []

    def new(self, name: bytes) -> User:
        """Make a user who may do nothing yet; it is not registered."""
        return User(name, self.state.config.acl_pubsub_default == "allchannels")

    def names(self) -> list[bytes]:
        """List the names, sorted."""
        return sorted(self.by_name)

    # Sessions.

    def needs_login(self) -> bool:
        """Say whether a connection may do nothing before it has logged in."""
        return not self.default.is_nopass or not self.default.is_enabled

    def opened(self, ctx: Session) -> None:
        """Make a new connection, or one that was reset, that of `default`."""
        ctx.user = self.default
        ctx.is_authenticated = False
        self._refresh(ctx)

    def adopt(self, ctx: Session, user: User) -> None:
        """Make a session that is not a client's (a script's) act as this user, with its restrictions."""
        ctx.user = user
        ctx.is_authenticated = True
        self._refresh(ctx)

    def log_in(self, ctx: Session, name: bytes, password: bytes, command: bytes) -> bool:
        """Make the session the user's if the password is right; else note the attempt by this command."""
        user = self.by_name.get(name)
        if user is None or not user.accepts(password):
            self.denials.note(ctx, DENIED_AUTH, command, name)
            return False
        ctx.user = user
        ctx.is_authenticated = True
        self._refresh(ctx)
        return True

    def _refresh(self, ctx: Session) -> None:
        # Whoever was once let in without a password stays, when one is set later.
        ctx.is_authenticated = ctx.is_authenticated or not self.needs_login()
        is_stranger = not ctx.is_authenticated
        ctx.set_own_gate(GATE_AUTH, is_stranger)
        ctx.set_own_gate(GATE_ACL, ctx.user.is_restricted())
        ctx.parser.is_unauthenticated = is_stranger

    def changed(self, user: User) -> None:
        """Have the sessions of a user follow a change of it."""
        for session in self.state.sessions.values():
            if session.user is user:
                self._refresh(session)

    # Changes.

    def set_user(self, name: bytes, words: list[bytes]) -> None:
        """Make or change a user by all of these rules or none; raises CommandError."""
        draft = self.new(name)
        user = self.by_name.get(name)
        if user is not None:
            draft.copy_from(user)
        try:
            rules = merged(words)
        except RuleError as error:
            raise CommandError(b"ERR " + error.text) from None
        for rule in rules:
            try:
                draft.apply(rule)
            except RuleError as error:
                text = b"ERR Error in ACL SETUSER modifier '%s': %s"
                raise CommandError(
                    text % (rule.replace(b"\r", b" ").replace(b"\n", b" "), error.text)
                ) from None
        if user is None:
            self.by_name[name] = draft
            return
        self._close_subscribers(user, draft)
        user.copy_from(draft)
        self.changed(user)

    def delete(self, name: bytes, asking: Session) -> bool:
        """Remove a user and close its sessions, the asking one after its reply; False: there is none."""
        user = self.by_name.pop(name, None)
        if user is None:
            return False
        self._close_sessions(user, asking)
        return True

    def _close_sessions(self, user: User, asking: Session | None) -> None:
        for session in list(self.state.sessions.values()):
            if session.user is not user:
                continue
            session.user = self.default
            session.is_authenticated = False
            self._refresh(session)
            if session is asking:
                session.closes_after_flush = True
            else:
                self.state.close(session)

    def _close_subscribers(self, user: User, draft: User) -> None:
        """Close the sessions of a user that are subscribed to what it may no longer use."""
        for session in list(self.state.sessions.values()):
            if session.user is user and session.subscriptions is not None:
                names = session.subscriptions.names
                channels = [*names[CHANNEL], *names[SHARD_CHANNEL]]
                is_permitted = all(draft.may_use_channel(channel) for channel in channels)
                if not is_permitted or not all(draft.may_use_channel(name, True) for name in names[PATTERN]):
                    self.state.close(session)

    # The configuration and the file.

    def _configure(self, words: list[bytes]) -> None:
        """Take a `user` line of the configuration; raises UsersError."""
        name = words[0]
        if has_spaces(name):
            raise UsersError("Spaces not allowed in ACL usernames")
        user = self.new(name)
        try:
            for rule in merged(words[1:]):
                user.apply(rule)
        except RuleError as error:
            shown = name.decode("utf-8", "replace")
            raise UsersError(
                f"Error loading ACL rules of the user '{shown}': {error.text.decode()}"
            ) from None
        if name == DEFAULT:
            self.default.copy_from(user)
        else:
            self.by_name[name] = user

    def load(self, asking: Session | None = None) -> str:
        """Replace all users by those of the file, or none if it has an error; return the errors."""
        path = self.state.config.aclfile
        try:
            text = self.state.config.read_text(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return f"Error loading ACLs, opening file '{path}': {reason}"
        users: dict[bytes, User] = {}
        errors = ""
        for number, line in enumerate(text.split("\n"), 1):
            words = _encoded(line.strip(" \t\r\n")).split(b" ")
            if words != [b""]:
                errors += self._load_line(users, f"{path}:{number}", number, words)
        if errors:
            return errors + NOTHING_CHANGED
        self._replace(users, asking)
        return ""

    def _load_line(self, users: dict[bytes, User], place: str, number: int, words: list[bytes]) -> str:
        """Take one line of the file into `users`; return what is wrong with it."""
        if words[0] != b"user" or len(words) < 2:
            return f"{place} should start with user keyword followed by the username. "
        name = words[1]
        shown = name.decode("utf-8", "replace")
        if has_spaces(name):
            return f"'{place}: username '{shown}' contains invalid characters. "
        if name in users:
            return f"WARNING: Duplicate user '{shown}' found on line {number}. "
        user = users[name] = self.new(name)
        try:
            rules = merged([word.strip(b"\t\r\n") for word in words[2:]])
        except RuleError:
            return f"{place}: Unmatched parenthesis in selector definition."
        errors = ""
        is_syntax_told = False
        for rule in rules:
            try:
                user.apply(rule)
            except RuleError as error:
                if error.text == UNKNOWN:
                    operation = rule.decode("utf-8", "replace")
                    errors += f"{place}: Error in applying operation '{operation}': {UNKNOWN.decode()}. "
                elif not is_syntax_told:
                    errors += f"{place}: {error.text.decode()}. "
                    is_syntax_told = True
        return errors

    def _replace(self, users: dict[bytes, User], asking: Session | None) -> None:
        """Put a new set of users into force: `default` stays who it is, the sessions of others end."""
        default = users.get(DEFAULT)
        if default is None:
            default = User(DEFAULT)
            _open(default)
        for name, user in self.by_name.items():
            if name != DEFAULT:
                self._close_sessions(user, asking)
        self._close_subscribers(self.default, default)
        self.default.copy_from(default)
        users[DEFAULT] = self.default
        self.by_name = users
        self.changed(self.default)

    def lines(self, for_file: bool = False) -> list[bytes]:
        """Return all users as lines of a file, sorted by name; for_file: see `Selector.describe`."""
        return [b"user %s %s" % (name, self.by_name[name].describe(for_file)) for name in self.names()]

    def configured_lines(self) -> list[str]:
        """Return what CONFIG REWRITE writes: all users; `default` only if requirepass does not say it all."""
        plain = User(DEFAULT)
        _open(plain)
        password = self.state.config.requirepass
        if password:
            plain.is_nopass = False
            plain.digests = [digest(_encoded(password))]
        lines = [line.decode("utf-8", "surrogateescape") for line in self.lines(for_file=True)]
        usual = f"user default {plain.describe(for_file=True).decode('utf-8', 'surrogateescape')}"
        return [line for line in lines if line != usual]


def _open(user: User) -> None:
    """Let a user do everything without a password: `default` as long as nothing else is said."""
    for rule in (b"+@all", b"~*", b"&*", b"on", b"nopass"):
        user.apply(rule)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
