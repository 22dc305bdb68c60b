"""One user: whether it may log in, with which passwords, and what it may then do.

Passwords are kept as SHA-256 in hexadecimal digits and nothing else: what is stored, shown and written to
files cannot be used to log in. A user is changed in place, since the sessions that are logged in as it hold
it; `Users` (`redoubt.access.users`) applies all rules of a command to a copy first, so that a wrong rule
changes nothing.

`apply` takes one rule; those about commands, keys and channels go to the root selector.
Source: the ACL pages of the Redis documentation; error texts as Redis's.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from typing import Final

from redoubt.access.selector import SYNTAX, RuleError, Selector
from redoubt.resp.inline import split_words

DIGEST_DIGITS: Final = 64
NO_SUCH_PASSWORD: Final = b"The password you are trying to remove from the user does not exist"
BAD_DIGEST: Final = (
    b"The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
)


class User:
    """Who may log in, and what for; see the module's docstring."""

    def __init__(self, name: bytes, has_all_channels: bool = False) -> None:
        self.name = name
        # What a new selector may do with channels (acl-pubsub-default).
        self.is_open_to_channels = has_all_channels
        self.is_enabled = False
        self.is_nopass = False  # any password will do
        self.skips_sanitizing = False  # of what RESTORE gets
        self.digests: list[bytes] = []
        self.root = Selector(has_all_channels)
        self.others: list[Selector] = []

    def copy_from(self, other: User) -> None:
        """Become like another user in everything but the name."""
        self.is_enabled = other.is_enabled
        self.is_nopass = other.is_nopass
        self.skips_sanitizing = other.skips_sanitizing
        self.digests = list(other.digests)
        self.root = other.root.copy()
        self.others = [selector.copy() for selector in other.others]

    # What is asked of it.

    def selectors(self) -> list[Selector]:
        """List the sets of permissions, the root first."""
        return [self.root, *self.others]

    def is_restricted(self) -> bool:
        """Say whether there is any call that this user may not make."""
        return not any(selector.permits_everything() for selector in self.selectors())

    def accepts(self, password: bytes) -> bool:
        """Say whether this password logs the user in; takes as long for a wrong one as for a right one."""
        if not self.is_enabled:
            return False
        if self.is_nopass:
            return True
        given = digest(password)
        is_right = False
        for known in self.digests:
            is_right |= compare_digest(known, given)
        return is_right

    def may_use_channel(self, channel: bytes, is_pattern: bool = False) -> bool:
        """Say whether a channel may be published to or subscribed; is_pattern: that of PSUBSCRIBE."""
        return any(selector.may_use_channel(channel, is_pattern) for selector in self.selectors())

    def may_use_key(self, key: bytes, permission: int) -> bool:
        """Say whether some selector lets the key be used in this way."""
        return any(selector.may_use_key(key, permission) for selector in self.selectors())

    # Rules.

    def apply(self, rule: bytes) -> None:
        """Change the user by one rule; raises RuleError."""
        word = rule.lower()
        sign = rule[:1]
        if not rule:
            return
        if word in (b"on", b"off"):
            self.is_enabled = word == b"on"
        elif word in (b"skip-sanitize-payload", b"sanitize-payload"):
            self.skips_sanitizing = word == b"skip-sanitize-payload"
        elif word in (b"nopass", b"resetpass"):
            self.is_nopass = word == b"nopass"
            self.digests = []
        elif sign in (b">", b"#"):
            self._add_digest(digest(rule[1:]) if sign == b">" else checked_digest(rule[1:]))
        elif sign in (b"<", b"!"):
            self._remove_digest(digest(rule[1:]) if sign == b"<" else checked_digest(rule[1:]))
        elif sign == b"(" and rule.endswith(b")"):
            self.others.append(self._selector(rule[1:-1]))
        elif word == b"clearselectors":
            self.others = []
        elif word == b"reset":
            self._reset()
        else:
            self.root.apply(rule)

    def _add_digest(self, digits: bytes) -> None:
        if digits not in self.digests:
            self.digests.append(digits)
        self.is_nopass = False

    def _remove_digest(self, digits: bytes) -> None:
        if digits not in self.digests:
            raise RuleError(NO_SUCH_PASSWORD)
        self.digests.remove(digits)

    def _selector(self, rules: bytes) -> Selector:
        made = Selector(self.is_open_to_channels)
        words = split_words(rules)
        if words is None:
            raise RuleError(SYNTAX)
        for word in words:
            made.apply(word)
        return made

    def _reset(self) -> None:
        self.is_enabled = False
        self.is_nopass = False
        self.skips_sanitizing = False
        self.digests = []
        self.root = Selector(self.is_open_to_channels)
        self.others = []

    # How it is shown.

    def flags(self) -> list[bytes]:
        """Name the flags, in Redis's order."""
        return [
            b"on" if self.is_enabled else b"off",
            *([b"nopass"] if self.is_nopass else []),
            b"skip-sanitize-payload" if self.skips_sanitizing else b"sanitize-payload",
        ]

    def describe(self, for_file: bool = False) -> bytes:
        """Return the rules that make this user out of a new one; for_file: see `Selector.describe`."""
        passwords = [b"#" + digits for digits in self.digests]
        others = [b"(%s)" % selector.describe(for_file) for selector in self.others]
        return b" ".join([*self.flags(), *passwords, self.root.describe(for_file), *others])


def digest(password: bytes) -> bytes:
    """Return what is kept of a password."""
    return sha256(password).hexdigest().encode()


def checked_digest(digits: bytes) -> bytes:
    """Return the digest if it is one; raises RuleError."""
    if len(digits) != DIGEST_DIGITS or any(digit not in b"0123456789abcdef" for digit in digits):
        raise RuleError(BAD_DIGEST)
    return digits


def merged(words: list[bytes]) -> list[bytes]:
    """Join the words of selectors that were given without quotes: `(+get`, `~a*)`; raises RuleError."""
    rules: list[bytes] = []
    opened = -1
    for at, word in enumerate(words):
        if opened < 0 and word.startswith(b"(") and not word.endswith(b")"):
            opened = at
        elif opened >= 0 and word.endswith(b")"):
            rules.append(b" ".join(words[opened : at + 1]))
            opened = -1
        elif opened < 0:
            rules.append(word)
    if opened >= 0:
        raise RuleError(b"Unmatched parenthesis in acl selector starting at '%s'." % words[opened])
    return rules
