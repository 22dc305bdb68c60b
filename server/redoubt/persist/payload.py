"""One value outside of a file: the payload that DUMP makes and RESTORE takes, and MIGRATE carries.

A payload is the type byte and the value as an RDB file has them, then the version of the format (2 bytes) and
the CRC-64 of everything before (8 bytes), both little-endian. Which types there are is the business of
`rdb_types` alone. The two refusals are apart because Redis's are: a payload that cannot be trusted as a
whole, and one whose value cannot be read.

Called by DUMP, RESTORE and MIGRATE. It looks up no keys and decides nothing about expiry. What stands between
the end of the value and the version is ignored, as Redis does.

Source: Redis `src/cluster.c` (createDumpPayload, verifyDumpPayload) and the pages of DUMP and RESTORE.
"""

from __future__ import annotations

from typing import Final

from redoubt.data.limits import Limits
from redoubt.data.text import Value
from redoubt.persist.checksum import crc64
from redoubt.persist.rdb_format import (
    REDIS_VERSION_MAX,
    TYPE_HASH_LISTPACK_TIMES,
    TYPE_HASH_TIMES,
    VALKEY_VERSION_MAX,
    VALKEY_VERSION_MIN,
    VERSION_FIELD_TIMES,
    VERSION_WRITTEN,
    CorruptFile,
)
from redoubt.persist.rdb_source import RdbSource, Underrun
from redoubt.persist.rdb_types import READERS, WRITERS

VERSION_BYTES: Final = 2
CHECKSUM_BYTES: Final = 8
FOOTER_BYTES: Final = VERSION_BYTES + CHECKSUM_BYTES


class UntrustedPayload(Exception):
    """The version is not one that we read, or the checksum is not that of the bytes."""


class BadPayload(Exception):
    """The footer is right, but what stands before it is no value of a known type."""


def dump(value: Value, is_compressed: bool = True) -> bytes:
    """Return the payload of a value."""
    writer = WRITERS[type(value)]
    type_byte = writer.type_byte(value)
    out = [bytes([type_byte])]
    writer.write(value, is_compressed, out)
    is_newer = type_byte in (TYPE_HASH_TIMES, TYPE_HASH_LISTPACK_TIMES)
    return sealed(b"".join(out), VERSION_FIELD_TIMES if is_newer else VERSION_WRITTEN)


def sealed(body: bytes, version: int = VERSION_WRITTEN) -> bytes:
    """Return type and value with the footer behind them."""
    body += version.to_bytes(VERSION_BYTES, "little")
    return body + crc64(body).to_bytes(CHECKSUM_BYTES, "little")


def version_of(payload: bytes) -> int:
    """Return the version of a payload whose checksum is right; raises UntrustedPayload."""
    if len(payload) < FOOTER_BYTES:
        raise UntrustedPayload
    body = payload[:-CHECKSUM_BYTES]
    version = int.from_bytes(body[-VERSION_BYTES:], "little")
    if version > REDIS_VERSION_MAX and not VALKEY_VERSION_MIN <= version <= VALKEY_VERSION_MAX:
        raise UntrustedPayload
    if crc64(body) != int.from_bytes(payload[-CHECKSUM_BYTES:], "little"):
        raise UntrustedPayload
    return version


def restore(payload: bytes, limits: Limits | None = None, is_deep: bool = True) -> Value:
    """Return the value of a payload, after checking its footer; raises UntrustedPayload or BadPayload.

    is_deep: whether packs are looked at entry by entry (directive sanitize-dump-payload).
    """
    version = version_of(payload)
    source = RdbSource("payload", limits=limits)
    source.version = version
    source.checks_packs = is_deep
    source.feed(payload[:-FOOTER_BYTES])
    source.gather()
    try:
        reader = READERS.get(source.byte())
        if reader is None:
            raise BadPayload
        return reader().read(source)
    except (Underrun, CorruptFile, IndexError):
        raise BadPayload from None
