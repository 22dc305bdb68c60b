"""SORT and SORT_RO: the elements of a list, set or sorted set in an order, and what other keys say of them.

Elements are ordered as numbers or (ALPHA) as texts, by themselves or by the values of keys that a pattern
names: the first `*` stands for the element, and `->field` behind it means the field of a hash. A pattern
without `*` means no order at all. GET returns such values instead of the elements; `#` is the element.

What STORE stores is propagated as the list that came of it: equal weights leave the order open, and sets
have none that two servers must share. Source: the Redis command reference, SORT, as of 7.2.
"""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING, Final

from redoubt.access.check import may_read_every_key
from redoubt.commands.arguments import Arguments, loose_number
from redoubt.commands.declare import (
    ACCESS,
    DENYOOM,
    GENERIC,
    OW,
    READONLY,
    RO,
    TABLE,
    UPDATE,
    WRITE,
    KeySpec,
    command,
)
from redoubt.commands.reading import WRONG_TYPE, read
from redoubt.data.hash import Hash
from redoubt.data.key_slot import key_slot, pattern_slot
from redoubt.data.list import TextList
from redoubt.data.set import MemberSet
from redoubt.data.sorted_set import SortedSet
from redoubt.data.structure import Structure
from redoubt.data.text import text_bytes
from redoubt.keyspace_events import EVENT_GENERIC, EVENT_LIST
from redoubt.resp.replies import CommandError, Reply
from redoubt.session import GATE_ACL

if TYPE_CHECKING:
    from redoubt.session import Session

_MAY_CROSS_SLOTS: Final = (
    b"ERR %s option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots."
)
_NOT_NUMBERS: Final = b"ERR One or more scores can't be converted into double"
_ZERO_BYTES: Final = b"0+-.eExXpP \t\n\v\f\r"
_CATEGORIES: Final = ("set", "sortedset", "list", "dangerous")
_ELEMENTS: Final = KeySpec(RO | ACCESS, index=1)
_PATTERNS: Final = KeySpec(RO | ACCESS, is_unknown=True)
_TARGET: Final = KeySpec(OW | UPDATE, is_unknown=True)
# How many words follow the options that are no STORE.
_SKIPPED: Final = {b"LIMIT": 2, b"GET": 1, b"BY": 1}


def sort_keys(argv: list[bytes]) -> list[bytes] | None:
    """List the keys of a call that can be known: the sorted one, and the last one to store to."""
    found = argv[1:2]
    at = 2
    while at < len(argv):
        word = argv[at].upper()
        if word == b"STORE" and at + 1 < len(argv):
            found = [argv[1], argv[at + 1]]
            at += 1
        at += 1 + _SKIPPED.get(word, 0)
    return found


class Pattern:
    """A pattern of BY or GET, taken apart once."""

    def __init__(self, word: bytes) -> None:
        self.is_element = word == b"#"
        star = word.find(b"*")
        self.names_keys = star >= 0
        self.prefix = word[: max(star, 0)]
        self.suffix = word[star + 1 :]
        self.field = b""
        arrow = self.suffix.find(b"->")
        if arrow >= 0 and arrow + 2 < len(self.suffix):
            self.field = self.suffix[arrow + 2 :]
            self.suffix = self.suffix[:arrow]

    def value_for(self, ctx: Session, element: bytes) -> bytes | None:
        """Return what the pattern means for an element; None if there is no such key or field."""
        if self.is_element:
            return element
        if not self.names_keys:
            return None
        value = read(ctx, self.prefix + element + self.suffix)
        if self.field:
            return value.get(self.field, ctx.now_ms) if isinstance(value, Hash) else None
        return None if value is None or isinstance(value, Structure) else text_bytes(value)


class Sorting:
    """What a call asks for."""

    def __init__(self) -> None:
        self.is_descending = False
        self.is_alphabetic = False
        self.offset = 0
        self.limit = -1
        self.by: Pattern | None = None
        # BY a pattern that names no keys: no order, even if another BY follows.
        self.is_unsorted = False
        self.gets: list[Pattern] = []
        self.target: bytes | None = None

    def take_options(self, ctx: Session, argv: list[bytes], may_store: bool) -> None:
        """Read the words of the call; raises CommandError."""
        arguments = Arguments(argv, 2)
        while arguments.has_more():
            if arguments.skip(b"ASC"):
                self.is_descending = False
            elif arguments.skip(b"DESC"):
                self.is_descending = True
            elif arguments.skip(b"ALPHA"):
                self.is_alphabetic = True
            elif arguments.left() > 2 and arguments.skip(b"LIMIT"):
                self.offset, self.limit = arguments.integer(), arguments.integer()
            elif may_store and arguments.skip_with_value(b"STORE"):
                self.target = arguments.word()
            elif arguments.skip_with_value(b"BY"):
                self.by = Pattern(arguments.word())
                if self.by.names_keys:
                    _require_its_keys(ctx, argv, b"BY", argv[arguments.at - 1])
                else:
                    self.is_unsorted = True
            elif arguments.skip_with_value(b"GET"):
                _require_its_keys(ctx, argv, b"GET", argv[arguments.at])
                self.gets.append(Pattern(arguments.word()))
            else:
                raise arguments.syntax_error()

    def ordered(self, ctx: Session, found: Structure | None) -> list[bytes]:
        """Return the elements in the order asked for, within the limit; raises CommandError."""
        elements = _elements(found)
        is_set = isinstance(found, MemberSet)
        if self.is_unsorted and not (is_set and (self.target is not None or ctx.is_atomic)):
            if self.is_descending and not is_set:
                elements.reverse()
        elif self.is_unsorted:
            # What is stored, or seen by a script, must be the same everywhere.
            elements.sort(reverse=self.is_descending)
        elif self.is_alphabetic:
            self._sort_texts(ctx, elements)
        else:
            self._sort_numbers(ctx, elements)
        total = len(elements)
        first = min(max(self.offset, 0), total)
        past = total if self.limit < 0 else min(first + self.limit, total)
        return elements[first:past]

    def _sort_texts(self, ctx: Session, elements: list[bytes]) -> None:
        if self.by is None:
            elements.sort(reverse=self.is_descending)
            return
        # Elements without a weight come before all that have one.
        weights: dict[bytes, tuple[bool, bytes]] = {}
        for element in elements:
            weight = self.by.value_for(ctx, element)
            weights[element] = (weight is not None, weight or b"")
        elements.sort(key=weights.__getitem__, reverse=self.is_descending)

    def _sort_numbers(self, ctx: Session, elements: list[bytes]) -> None:
        weights: dict[bytes, tuple[float, bytes]] = {}
        is_refused = False
        for element in elements:
            word = element if self.by is None else self.by.value_for(ctx, element)
            weight = 0.0 if word is None else _weight(word)
            if weight is None:
                is_refused = True  # once all keys have been looked up, as in Redis
            else:
                weights[element] = (weight, element)
        if is_refused:
            raise CommandError(_NOT_NUMBERS)
        elements.sort(key=weights.__getitem__, reverse=self.is_descending)

    def values(self, ctx: Session, elements: list[bytes]) -> list[bytes | None]:
        """Return what GET makes of the elements."""
        if not self.gets:
            return list[bytes | None](elements)
        return [pattern.value_for(ctx, element) for element in elements for pattern in self.gets]


def _require_its_keys(ctx: Session, argv: list[bytes], option: bytes, pattern: bytes) -> None:
    """Refuse a pattern where not every key that it may name is there for this client."""
    if ctx.state.config.cluster_enabled and pattern != b"#" and pattern_slot(pattern) != key_slot(argv[1]):
        raise CommandError(_MAY_CROSS_SLOTS % option)
    if ctx.gates & GATE_ACL and not may_read_every_key(ctx.user, TABLE[argv[0].lower()], argv):
        raise CommandError(b"ERR %s option of SORT denied due to insufficient ACL permissions." % option)


def _weight(word: bytes) -> float | None:
    """Read a number as strtod does, which finds 0 in nothing; None: it is none, or does not fit."""
    try:
        value = loose_number(word)
    except CommandError:
        return None
    is_too_large = isinf(value) and b"n" not in word.lower()
    is_too_small = value == 0.0 and word.strip(_ZERO_BYTES) != b""
    return None if is_too_large or is_too_small else value


def _elements(found: Structure | None) -> list[bytes]:
    if isinstance(found, TextList):
        return found.slice(0, found.total)
    if isinstance(found, MemberSet):
        return list(found.members())
    return found.members() if isinstance(found, SortedSet) else []


@command("SORT",
         "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]"
         " [STORE destination:key]",
         group=GENERIC, flags=WRITE | DENYOOM, since="1.0.0", categories=_CATEGORIES,
         key_specs=[_ELEMENTS, _PATTERNS, _TARGET], find_keys=sort_keys,
         complexity="O(N+M*log(M)) for N elements, M of them returned",
         summary="Return or store the elements of a list, set or sorted set in an order.")  # fmt: skip
def sort(ctx: Session, argv: list[bytes]) -> Reply:
    sorting = Sorting()
    sorting.take_options(ctx, argv, True)
    values = _sorted_values(ctx, argv[1], sorting)
    return values if sorting.target is None else _store(ctx, sorting.target, values)


@command("SORT_RO",
         "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
         group=GENERIC, flags=READONLY, since="7.0.0", categories=_CATEGORIES,
         key_specs=[_ELEMENTS, _PATTERNS], find_keys=sort_keys,
         complexity="O(N+M*log(M)) for N elements, M of them returned",
         summary="Return the elements of a list, set or sorted set in an order.")  # fmt: skip
def sort_ro(ctx: Session, argv: list[bytes]) -> Reply:
    sorting = Sorting()
    sorting.take_options(ctx, argv, False)
    return _sorted_values(ctx, argv[1], sorting)


def _sorted_values(ctx: Session, key: bytes, sorting: Sorting) -> list[bytes | None]:
    found = read(ctx, key)
    if found is not None and not isinstance(found, (TextList, MemberSet, SortedSet)):
        raise CommandError(WRONG_TYPE)
    return sorting.values(ctx, sorting.ordered(ctx, found))


def _store(ctx: Session, key: bytes, values: list[bytes | None]) -> int:
    """Put a list in place of whatever is at `key`; return its length."""
    if not values:
        if ctx.db.delete(key):
            ctx.rewrite([b"DEL", key])
            ctx.notify(EVENT_GENERIC, b"del", key)
        return 0
    exists = ctx.db.lookup(key, ctx.now_ms) is not None
    made = TextList()
    texts = [value or b"" for value in values]
    for text in texts:
        made.push(text, False, ctx.state.limits)
    ctx.db.set(key, made)
    addition = [b"RPUSH", key, *texts]
    if exists:
        ctx.rewrite([b"DEL", key], addition)
    else:
        ctx.rewrite(addition)
    ctx.notify(EVENT_LIST, b"sortstore", key)
    return len(texts)
