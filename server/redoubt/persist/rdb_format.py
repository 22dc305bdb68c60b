"""The vocabulary of RDB files: versions, opcodes, type bytes, encodings, and the error of a bad file.

An RDB file is a magic word with a version, then items, each opened by one byte: an opcode (auxiliary field,
database, expiry of the next key, ...) or the type of a value, followed by key and value; then the end and a
CRC-64. Lengths take 1, 2, 5 or 9 bytes, told by the first two bits; where a string stands, the bits 11
announce an integer or LZF.

Used by every module of `redoubt.persist`. It reads and writes nothing itself.

Source: Redis `src/rdb.h` and `src/rdb.c` (versions 1 to 12), Valkey 9 (version 80, magic VALKEY).
"""

from __future__ import annotations

from typing import Final

VERSION_WRITTEN: Final = 10  # read by Redis 7.0 and later and by every Valkey
VERSION_FIELD_TIMES: Final = 12  # written where fields of hashes expire, which older readers do not know
REDIS_VERSION_MAX: Final = 12  # Redis 7.4
VALKEY_VERSION_MIN: Final = 80
VALKEY_VERSION_MAX: Final = 80
CHECKSUM_VERSION_MIN: Final = 5  # older files end with the end opcode

OP_SLOT_IMPORT: Final = 243  # Valkey 9: name of a slot import, ranges
OP_SLOT_INFO: Final = 244  # slot, keys, keys with expiry: sizes for the loader
OP_FUNCTION: Final = 245
OP_FUNCTION_PRERELEASE: Final = 246
OP_MODULE_AUX: Final = 247
OP_IDLE: Final = 248  # LRU: seconds since the next key was used
OP_FREQUENCY: Final = 249  # LFU: one byte for the next key
OP_AUX: Final = 250
OP_RESIZE: Final = 251
OP_EXPIRE_MS: Final = 252
OP_EXPIRE_S: Final = 253
OP_SELECT: Final = 254
OP_END: Final = 255

TYPE_TEXT: Final = 0
TYPE_LIST: Final = 1
TYPE_SET: Final = 2
TYPE_SORTED_SET: Final = 3
TYPE_HASH: Final = 4
TYPE_SORTED_SET_2: Final = 5
TYPE_MODULE_PRERELEASE: Final = 6
TYPE_MODULE: Final = 7
TYPE_HASH_ZIPMAP: Final = 9  # Redis up to 2.4
TYPE_LIST_ZIPLIST: Final = 10  # up to 3.0
TYPE_SET_INTSET: Final = 11
TYPE_SORTED_SET_ZIPLIST: Final = 12  # up to 6.2
TYPE_HASH_ZIPLIST: Final = 13  # up to 6.2
TYPE_LIST_QUICKLIST: Final = 14  # 3.2 to 6.2
TYPE_STREAM: Final = 15
TYPE_HASH_LISTPACK: Final = 16
TYPE_SORTED_SET_LISTPACK: Final = 17
TYPE_LIST_QUICKLIST_2: Final = 18
TYPE_STREAM_2: Final = 19
TYPE_SET_LISTPACK: Final = 20
TYPE_HASH_TIMES_OLD: Final = 22  # before the release of 7.4; in files of Valkey a form of its own
TYPE_HASH_LISTPACK_TIMES_OLD: Final = 23
TYPE_HASH_TIMES: Final = 24
TYPE_HASH_LISTPACK_TIMES: Final = 25
TYPE_STREAM_3: Final = 21

ENCODING_INT8: Final = 0
ENCODING_INT16: Final = 1
ENCODING_INT32: Final = 2
ENCODING_LZF: Final = 3

MODULE_NAME_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class CorruptFile(Exception):
    """A file or stream that cannot be loaded; nothing of it may be served."""

    def __init__(self, path: str, offset: int, expected: str, found: str) -> None:
        super().__init__(f"{path} at byte {offset}: expected {expected}, found {found}")
        self.path = path
        self.offset = offset
        self.expected = expected
        self.found = found


def module_name(module_id: int) -> str:
    """Decode the name in a module id: nine characters of six bits above a ten-bit version."""
    return "".join([MODULE_NAME_ALPHABET[(module_id >> shift) & 63] for shift in range(58, 9, -6)])
