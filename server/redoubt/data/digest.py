"""The digest of a dataset: 40 hexadecimal digits that are equal where, and only where, the contents are.

It is that of Redis's DEBUG DIGEST, so that two servers can be compared whatever encodings they have chosen:
SHA-1 of each key with its value, combined by exclusive or where there is no order, and by hashing on where
there is one. An expiry counts as such, its moment does not, since that moves on the way between servers.

Called by DEBUG DIGEST and DIGEST-VALUE, and by tests as a judge. It walks over everything, O(n): no server
under load should be asked. Source: Redis `src/debug.c` (computeDatasetDigest, xorObjectDigest).
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

from redoubt.data.hash import Hash
from redoubt.data.keyspace import Keyspace
from redoubt.data.list import TextList
from redoubt.data.set import MemberSet
from redoubt.data.sorted_set import SortedSet
from redoubt.data.stream import Stream
from redoubt.data.stream_id import ID_MAX, milliseconds_of, sequence_of
from redoubt.data.structure import Structure
from redoubt.data.text import Value, text_bytes

DIGEST_BYTES: Final = 20
# Redis's numbers of the types.
_STRING: Final = 0
_LIST: Final = 1
_SET: Final = 2
_SORTED_SET: Final = 3
_HASH: Final = 4
_STREAM: Final = 6


class Digest:
    """20 bytes that texts are added to, with or without regard to their order."""

    def __init__(self) -> None:
        self.number = 0

    def add(self, text: bytes) -> None:
        """Add a text whose place among the others does not matter."""
        self.number ^= int.from_bytes(sha1(text, usedforsecurity=False).digest(), "big")

    def mix(self, text: bytes) -> None:
        """Add a text whose place matters."""
        self.add(text)
        self.number = int.from_bytes(sha1(self.content(), usedforsecurity=False).digest(), "big")

    def content(self) -> bytes:
        """Return what has come out so far."""
        return self.number.to_bytes(DIGEST_BYTES, "big")

    def hex(self) -> bytes:
        """Return what has come out so far, as it is shown."""
        return b"%040x" % self.number


def dataset_digest(keyspaces: list[Keyspace]) -> bytes:
    """Return the digest of all databases."""
    whole = Digest()
    for keyspace in keyspaces:
        if not keyspace.key_count:
            continue
        whole.mix(keyspace.database.to_bytes(4, "big"))
        for bucket in keyspace.buckets:
            for key, value in bucket.values.items():
                digest = Digest()
                digest.mix(key)
                add_value(digest, value, key in bucket.expiries)
                whole.add(digest.content())
    return whole.hex()


def value_digest(value: Value, is_expiring: bool) -> bytes:
    """Return the digest of one value."""
    digest = Digest()
    add_value(digest, value, is_expiring)
    return digest.hex()


def add_value(digest: Digest, value: Value, is_expiring: bool) -> None:
    """Add a value, and that its key expires."""
    if isinstance(value, TextList):
        _mix_type(digest, _LIST)
        for text in value.slice(0, value.count()):
            digest.mix(text)
    elif isinstance(value, MemberSet):
        _mix_type(digest, _SET)
        for member in value.members():
            digest.add(member)
    elif isinstance(value, SortedSet):
        _mix_type(digest, _SORTED_SET)
        for member, score in value.slice(0, value.count()):
            _add_pair(digest, member, b"%.17g" % score)
    elif isinstance(value, Hash):
        _add_hash(digest, value)
    elif isinstance(value, Stream):
        _mix_stream(digest, value)
    else:
        assert not isinstance(value, Structure)
        _mix_type(digest, _STRING)
        digest.mix(text_bytes(value))
    if is_expiring:
        digest.add(b"!!expire!!")


def _mix_type(digest: Digest, number: int) -> None:
    digest.mix(number.to_bytes(4, "big"))


def _add_pair(digest: Digest, first: bytes, second: bytes) -> None:
    pair = Digest()
    pair.mix(first)
    pair.mix(second)
    digest.add(pair.content())


def _add_hash(digest: Digest, value: Hash) -> None:
    _mix_type(digest, _HASH)
    for field, text in value.pairs():
        pair = Digest()
        pair.mix(field)
        pair.mix(text)
        if value.due_ms(field):
            pair.add(b"!!hexpire!!")
        digest.add(pair.content())


def _mix_stream(digest: Digest, value: Stream) -> None:
    _mix_type(digest, _STREAM)
    for entry in value.range(0, ID_MAX, 0):
        digest.mix(b"%d.%d" % (milliseconds_of(entry.entry_id), sequence_of(entry.entry_id)))
        for word in entry.items:
            digest.mix(word)
