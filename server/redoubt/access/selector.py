"""One set of permissions of a user: which commands may run, on which keys and channels.

A user has one root selector and any number of further ones; a call may run if one of them alone permits
everything about it. Which commands are permitted is kept twice: as the names that may run, which is what is
asked, and as the rules in the order in which they count, which is what ACL LIST shows and what makes the
same selector again.

`apply` takes one rule (`+get`, `-@dangerous`, `~cache:*`, `%R~*`, `&news.*`, ...). Rules about the user as
such (`on`, passwords) are in `redoubt.access.user`; what a call needs is found by `redoubt.access.check`.
Source: the ACL page of the Redis documentation; error texts as Redis's.
"""

from __future__ import annotations

from typing import Final

from redoubt.commands.declare import CATEGORIES, CONTAINERS, ROWS, Row
from redoubt.data.glob import Glob

READ: Final = 1
WRITE: Final = 2
_PREFIXES: Final = {READ: b"%R~", WRITE: b"%W~", READ | WRITE: b"~"}

UNKNOWN: Final = b"Unknown command or category name in ACL"
SYNTAX: Final = b"Syntax error"
AFTER_ALL_KEYS: Final = (
    b"Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any "
    b"effect. Try 'resetkeys' to start with an empty list of patterns"
)
AFTER_ALL_CHANNELS: Final = (
    b"Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any "
    b"effect. Try 'resetchannels' to start with an empty list of channels"
)
FIRST_ARGUMENT_OF_SUBCOMMAND: Final = b"Allowing first-arg of a subcommand is not supported"


class RuleError(Exception):
    """A rule that cannot be applied; the text says why."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class KeyPattern:
    """Keys that may be read, written or both."""

    def __init__(self, pattern: bytes, permission: int) -> None:
        self.pattern = pattern
        self.permission = permission
        self.glob = Glob(pattern)

    def describe(self) -> bytes:
        """Return the rule that makes this pattern."""
        return _PREFIXES[self.permission] + self.pattern


class Selector:
    """One set of permissions; see the module's docstring."""

    def __init__(self, has_all_channels: bool) -> None:
        self.has_all_commands = False
        # Whether commands that come with later versions are permitted: it began with +@all.
        self.begins_with_all = False
        self.has_all_keys = False
        self.has_all_channels = has_all_channels
        self.allowed: set[str] = set()  # names of rows
        # Commands that are not allowed as such, but with one of these words behind the name.
        self.first_arguments: dict[str, list[bytes]] = {}
        self.command_rules: list[bytes] = []
        self.keys: list[KeyPattern] = []
        self.channels: list[Glob] = []
        self.channel_patterns: list[bytes] = []

    def copy(self) -> Selector:
        """Make an independent selector with the same permissions."""
        other = Selector(self.has_all_channels)
        other.has_all_commands = self.has_all_commands
        other.begins_with_all = self.begins_with_all
        other.has_all_keys = self.has_all_keys
        other.allowed = set(self.allowed)
        other.first_arguments = {name: list(words) for name, words in self.first_arguments.items()}
        other.command_rules = list(self.command_rules)
        other.keys = [KeyPattern(key.pattern, key.permission) for key in self.keys]
        other.channels = list(self.channels)
        other.channel_patterns = list(self.channel_patterns)
        return other

    def permits_everything(self) -> bool:
        """Say whether no call can be refused."""
        return self.has_all_commands and self.has_all_keys and self.has_all_channels

    # What is asked of it.

    def may_run(self, row: Row, argv: list[bytes]) -> bool:
        """Say whether the command may run, whatever its keys."""
        if self.has_all_commands or row.name in self.allowed:
            return True
        words = self.first_arguments.get(row.name)
        return words is not None and len(argv) > 1 and argv[1].lower() in words

    def may_use_key(self, key: bytes, permission: int) -> bool:
        """Say whether the key may be used in this way (READ, WRITE, both, or 0: merely named)."""
        if self.has_all_keys:
            return True
        for pattern in self.keys:
            if pattern.permission & permission == permission and pattern.glob.matches(key):
                return True
        return False

    def may_use_every_key(self, permission: int) -> bool:
        """Say whether any key at all may be used in this way."""
        if self.has_all_keys:
            return True
        for pattern in self.keys:
            if pattern.permission & permission == permission and pattern.pattern == b"*":
                return True
        return False

    def may_use_channel(self, channel: bytes, is_pattern: bool) -> bool:
        """Say whether the channel may be used; a pattern of PSUBSCRIBE must be among ours as it is."""
        if self.has_all_channels:
            return True
        if is_pattern:
            return channel in self.channel_patterns
        return any(pattern.matches(channel) for pattern in self.channels)

    # Rules.

    def apply(self, rule: bytes) -> None:
        """Change the permissions by one rule; raises RuleError, and then nothing has changed."""
        word = rule.lower()
        if word in (b"allkeys", b"~*"):
            self.has_all_keys, self.keys = True, []
        elif word == b"resetkeys":
            self.has_all_keys, self.keys = False, []
        elif word in (b"allchannels", b"&*"):
            self._set_channels(True)
        elif word == b"resetchannels":
            self._set_channels(False)
        elif word in (b"allcommands", b"+@all"):
            self._set_commands(True)
        elif word in (b"nocommands", b"-@all"):
            self._set_commands(False)
        elif rule[:1] in (b"~", b"%"):
            self._add_key_pattern(rule)
        elif rule[:1] == b"&":
            self._add_channel(rule[1:])
        elif rule[:2] in (b"+@", b"-@"):
            self._set_category(word[2:], rule[:1] == b"+")
        elif rule[:1] == b"+":
            self._allow(word[1:])
        elif rule[:1] == b"-":
            row = find_row(word[1:])
            self._set_command(row, False)
            self._note_rule(row.name.encode(), False)
        else:
            raise RuleError(SYNTAX)

    def _set_channels(self, is_all: bool) -> None:
        self.has_all_channels = is_all
        self.channels = []
        self.channel_patterns = []

    def _set_commands(self, is_all: bool) -> None:
        self.has_all_commands = is_all
        self.begins_with_all = is_all
        self.allowed = {row.name for row in every_row()} if is_all else set()
        self.first_arguments = {}
        self.command_rules = []

    def _add_key_pattern(self, rule: bytes) -> None:
        if self.has_all_keys:
            raise RuleError(AFTER_ALL_KEYS)
        permission, pattern = READ | WRITE, rule[1:]
        if rule[:1] == b"%":
            permission, pattern = _key_permission(rule)
        if has_spaces(pattern):
            raise RuleError(SYNTAX)
        for known in self.keys:
            if known.pattern == pattern:
                known.permission |= permission
                return
        self.keys.append(KeyPattern(pattern, permission))

    def _add_channel(self, pattern: bytes) -> None:
        if self.has_all_channels:
            raise RuleError(AFTER_ALL_CHANNELS)
        if has_spaces(pattern):
            raise RuleError(SYNTAX)
        if pattern not in self.channel_patterns:
            self.channel_patterns.append(pattern)
            self.channels.append(Glob(pattern))

    def _set_category(self, word: bytes, is_allowed: bool) -> None:
        category = word.decode("latin-1")
        if category not in CATEGORIES:
            raise RuleError(UNKNOWN)
        self._note_rule(b"@" + word, is_allowed)
        for row in every_row():
            if category in row.categories:
                self._set_command(row, is_allowed)

    def _allow(self, word: bytes) -> None:
        name, bar, last = word.rpartition(b"|")
        if not bar:
            row = find_row(word)
            self._set_command(row, True)
            self._note_rule(row.name.encode(), True)
            return
        row = find_row(name)
        if "|" in row.name:
            raise RuleError(FIRST_ARGUMENT_OF_SUBCOMMAND)
        if not last:
            raise RuleError(SYNTAX)
        if name in CONTAINERS:
            self._set_command(find_row(word), True)
        else:
            words = self.first_arguments.setdefault(row.name, [])
            if last not in words:
                words.append(last)
        self._note_rule(word, True)

    def _set_command(self, row: Row, is_allowed: bool) -> None:
        """Allow or deny a command, a container with all that it contains."""
        self.first_arguments.pop(row.name, None)
        names = [row.name]
        container = CONTAINERS.get(row.name.encode())
        if container is not None:
            names += [nested.name for nested in container.subcommands.values()]
        if is_allowed:
            self.allowed.update(names)
        else:
            self.allowed.difference_update(names)
            self.has_all_commands = False

    def _note_rule(self, word: bytes, is_allowed: bool) -> None:
        """Put a rule at the end of the rules; it takes the place of earlier ones about the same commands."""
        kept = [old for old in self.command_rules if old[1:] != word and not old[1:].startswith(word + b"|")]
        self.command_rules = [*kept, (b"+" if is_allowed else b"-") + word]

    # How it is shown.

    def describe_commands(self) -> bytes:
        """Return the rules that make the permitted commands."""
        return b" ".join([b"+@all" if self.begins_with_all else b"-@all", *self.command_rules])

    def describe_keys(self) -> bytes:
        """Return the rules that make the permitted keys."""
        return b"~*" if self.has_all_keys else b" ".join([pattern.describe() for pattern in self.keys])

    def describe_channels(self) -> bytes:
        """Return the rules that make the permitted channels."""
        if self.has_all_channels:
            return b"&*"
        return b" ".join([b"&" + pattern for pattern in self.channel_patterns])

    def describe(self, for_file: bool = False) -> bytes:
        """Return all rules, as Redis shows them, or such that another selector surely becomes this one.

        That is not the same: `%RW~*` is shown as `~*`, which no pattern may follow.
        """
        has_all = for_file and self.may_use_every_key(READ | WRITE)
        parts = [b"~*" if has_all else self.describe_keys()]
        if not self.has_all_channels:
            parts.append(b"resetchannels")
        parts += [self.describe_channels(), self.describe_commands()]
        return b" ".join([part for part in parts if part])


def _key_permission(rule: bytes) -> tuple[int, bytes]:
    """Read `%R~pattern`, `%W~pattern` or `%RW~pattern`."""
    permission = 0
    letters, _, pattern = rule[1:].partition(b"~")
    for letter in letters.upper():
        bit = READ if letter == 0x52 else WRITE if letter == 0x57 else 0
        if not bit or permission & bit:
            raise RuleError(SYNTAX)
        permission |= bit
    if not permission:
        raise RuleError(SYNTAX)
    return permission, pattern


def has_spaces(word: bytes) -> bool:
    """Say whether the word could not stand in a line of rules."""
    return any(byte in b" \t\n\v\f\r\0" for byte in word)


def every_row() -> list[Row]:
    """List every command, containers and subcommands included."""
    rows = list(ROWS.values())
    for container in CONTAINERS.values():
        rows += container.subcommands.values()
    return rows


def find_row(name: bytes) -> Row:
    """Find a command by name in lower case, `config|get` for a subcommand; raises RuleError."""
    parent, bar, subcommand = name.partition(b"|")
    row = ROWS.get(parent)
    if bar:
        container = CONTAINERS.get(parent)
        row = None if container is None else container.subcommands.get(subcommand)
    if row is None:
        raise RuleError(UNKNOWN)
    return row
