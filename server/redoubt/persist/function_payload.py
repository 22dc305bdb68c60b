"""Function libraries outside of a file: the payload of FUNCTION DUMP and FUNCTION RESTORE.

It is every library as an RDB file has it (the opcode 245 and the code as one string), then the version of the
format and the CRC-64, as behind a value.

Called by the commands. It compiles nothing. Source: Redis `src/functions.c` and `src/rdb.c`.
"""

from __future__ import annotations

from redoubt.persist.payload import FOOTER_BYTES, sealed, version_of
from redoubt.persist.rdb_format import OP_FUNCTION, OP_FUNCTION_PRERELEASE, CorruptFile
from redoubt.persist.rdb_source import RdbSource, Underrun
from redoubt.persist.rdb_text import write_text
from redoubt.resp.replies import CommandError


def write_function(code: bytes, is_compressed: bool, out: list[bytes]) -> None:
    """Append one library as a file has it."""
    out.append(bytes([OP_FUNCTION]))
    write_text(code, is_compressed, out)


def dump_functions(codes: list[bytes], is_compressed: bool = True) -> bytes:
    """Return the payload of these libraries."""
    out: list[bytes] = []
    for code in codes:
        write_function(code, is_compressed, out)
    return sealed(b"".join(out))


def restore_functions(payload: bytes) -> list[bytes]:
    """Return the code of the libraries of a payload; raises UntrustedPayload or CommandError."""
    version_of(payload)
    source = RdbSource("payload")
    source.feed(payload[:-FOOTER_BYTES])
    source.gather()
    codes: list[bytes] = []
    end = len(payload) - FOOTER_BYTES
    try:
        while source.offset() < end:
            opcode = source.byte()
            if opcode == OP_FUNCTION_PRERELEASE:
                raise CommandError(b"ERR Pre-GA function format not supported")
            if opcode != OP_FUNCTION:
                raise CommandError(b"ERR given type is not a function")
            codes.append(source.text())
    except (Underrun, CorruptFile):
        raise CommandError(b"ERR failed loading the given functions payload") from None
    return codes
