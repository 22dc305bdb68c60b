"""Where the keys of a command stand: Redis's key specifications, computed from the usage line.

A `KeySpec` says how to find the first word to look at (a fixed index, or the word after a keyword) and how
to find the keys from there (a range, or a count that precedes them), and what the command does with them.
`derive` reads the specifications off the arguments of a usage line. A command with one key at a fixed place
never comes here at run time: its row keeps the index.

Called by `redoubt.commands.declare` at import, by COMMAND GETKEYS and by the cluster for commands whose keys
move. Source of the rules: https://redis.io/docs/latest/develop/reference/key-specs/
"""

from __future__ import annotations

from typing import Final

from redoubt.commands.usage import BLOCK, KEY, Argument

# What a command does with a key: exactly one of the first four, then at most one of the second four.
RW: Final = 1 << 0
RO: Final = 1 << 1
OW: Final = 1 << 2
RM: Final = 1 << 3
ACCESS: Final = 1 << 4
UPDATE: Final = 1 << 5
INSERT: Final = 1 << 6
DELETE: Final = 1 << 7
NOT_KEY: Final = 1 << 8
INCOMPLETE: Final = 1 << 9
VARIABLE_FLAGS: Final = 1 << 10

USE_NAMES: Final = {
    RW: "RW", RO: "RO", OW: "OW", RM: "RM", ACCESS: "access", UPDATE: "update", INSERT: "insert",
    DELETE: "delete", NOT_KEY: "not_key", INCOMPLETE: "incomplete", VARIABLE_FLAGS: "variable_flags",
}  # fmt: skip


class KeySpec:
    """One place of keys: begin at `index` or after `keyword`, then a range or a count of keys."""

    def __init__(self, use: int, index: int = 0, keyword: str = "", start_from: int = 0,
                 last: int = 0, step: int = 1, limit: int = 0, is_counted: bool = False,
                 is_unknown: bool = False) -> None:  # fmt: skip
        self.use = use
        self.index = index
        # With a keyword, searching begins at this word; negative: from the end, backwards.
        self.keyword = keyword
        self.start_from = start_from
        # Range: the last key, counted from the first, or from the end of the call if negative.
        self.last = last
        self.step = 0 if is_unknown else step
        self.limit = limit
        # Instead of a range: the first word is the number of keys that follow it.
        self.is_counted = is_counted
        # Only the command itself can say where these are (SORT).
        self.is_unknown = is_unknown

    def positions(self, argv: list[bytes]) -> list[int] | None:
        """List the indices of the keys in this call; None if the call is malformed."""
        begin = self._begin(argv)
        if begin == 0 or self.is_unknown:
            return []
        if self.is_counted:
            if begin >= len(argv) or not argv[begin].isdigit() or len(argv[begin]) > 10:
                return None
            first, last = begin + 1, begin + int(argv[begin]) * self.step
        else:
            first = begin
            last = first + self.last if self.last >= 0 else len(argv) + self.last
            if self.last < 0 and self.limit > 1:
                last = first + (len(argv) - first) // self.limit + self.last
            if self.last < 0 and last == first - 1:
                return []  # what may be repeated may be left out
        if last >= len(argv) or first >= len(argv):
            return None
        return list(range(first, last + 1, self.step))

    def _begin(self, argv: list[bytes]) -> int:
        if not self.keyword:
            return self.index
        words = range(self.start_from, len(argv) - 1)
        if self.start_from < 0:
            words = range(len(argv) + self.start_from, 0, -1)
        keyword = self.keyword.encode()
        return next((at + 1 for at in words if argv[at].upper() == keyword), 0)


class _Walk:
    """The state of reading arguments from left to right."""

    def __init__(self, uses: tuple[int, ...], position: int) -> None:
        self.uses = uses
        self.position: int = position  # of the next word; counted to the first variable argument
        self.is_fixed = True
        self.specs: list[KeySpec] = []

    def use(self) -> int:
        assert self.uses, "a command with keys declares what it does with them (use=...)"
        return self.uses[min(len(self.specs), len(self.uses) - 1)]

    def add(self, argument: Argument, spec: KeySpec) -> None:
        argument.key_spec_index = len(self.specs)
        self.specs.append(spec)

    def advance(self, argument: Argument) -> None:
        if self.is_fixed and (length := argument.length_fixed()) >= 0:
            self.position += length
        else:
            self.is_fixed = False


def derive(arguments: list[Argument], words: int, use: int | tuple[int, ...]) -> list[KeySpec]:
    """Compute the key specifications of a usage line; `words` is the length of the command's name.

    Keys in optional arguments are found by the token before them; a key without one is an error of the
    declaration.
    """
    walk = _Walk(use if isinstance(use, tuple) else (use,) if use else (), words)
    for at, argument in enumerate(arguments):
        _visit(walk, arguments, at)
        walk.advance(argument)
    return walk.specs


def number(arguments: list[Argument], index: int) -> int:
    """Give the keys among the arguments the specifications in turn; return the next one's index."""
    for argument in arguments:
        if argument.kind == KEY:
            argument.key_spec_index = index
            index += 1
        index = number(argument.arguments, index)
    return index


def _visit(walk: _Walk, arguments: list[Argument], at: int) -> None:
    argument = arguments[at]
    after = arguments[at + 1 :]
    is_after_count = at > 0 and arguments[at - 1].name == "numkeys"
    if argument.kind == KEY:
        if is_after_count:
            spec = KeySpec(walk.use(), index=walk.position - 1, is_counted=True)
        else:
            spec = _placed(walk, argument, _last(argument, 1, after))
        walk.add(argument, spec)
    elif argument.kind == BLOCK and argument.token:
        _visit_token_block(walk, argument)
    elif argument.kind == BLOCK and argument.is_multiple:
        _visit_pairs(walk, argument, after)
    elif argument.arguments:
        inner = _Walk(walk.uses, walk.position)
        inner.is_fixed, inner.specs = walk.is_fixed and not argument.is_optional, walk.specs
        is_choice = argument.kind != BLOCK
        for nested_at, nested in enumerate(argument.arguments):
            _visit(inner, [nested] if is_choice else argument.arguments, 0 if is_choice else nested_at)
            if not is_choice:
                inner.advance(nested)


def _visit_token_block(walk: _Walk, block: Argument) -> None:
    """`STREAMS key [key ...] id [id ...]`: the first half of what follows the token."""
    keys = [argument for argument in block.arguments if argument.kind == KEY]
    if keys:
        halves = len(block.arguments) if keys[0].is_multiple else 0
        last = -1 if keys[0].is_multiple else 0
        spec = KeySpec(walk.use(), keyword=block.token, start_from=walk.position, last=last, limit=halves)
        walk.add(keys[0], spec)


def _visit_pairs(walk: _Walk, block: Argument, after: list[Argument]) -> None:
    """`key value [key value ...]`: every n-th word to the end."""
    size = sum(argument.length_min() for argument in block.arguments)
    for offset, argument in enumerate(block.arguments):
        if argument.kind == KEY:
            spec = KeySpec(walk.use(), index=walk.position + offset, last=_last(block, 1, after), step=size)
            walk.add(argument, spec)


def _placed(walk: _Walk, argument: Argument, last: int) -> KeySpec:
    if (argument.token and not walk.is_fixed) or argument.is_optional:
        assert argument.token, f"key {argument.name!r} has neither a fixed place nor a token"
        return KeySpec(walk.use(), keyword=argument.token, start_from=walk.position, last=last)
    assert walk.is_fixed, f"key {argument.name!r} has neither a fixed place nor a token"
    return KeySpec(walk.use(), index=walk.position + (1 if argument.token else 0), last=last)


def _last(argument: Argument, once: int, after: list[Argument]) -> int:
    """The last key of a range, counted from its first, or from the end of the call for repeated keys."""
    if not argument.is_multiple:
        return once - 1
    return -1 - sum(following.length_min() for following in after)
