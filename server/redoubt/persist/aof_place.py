"""Where an increment stands in the replication history: the annotations that Redoubt writes into it.

    #REDOUBT:<replid>:<offset>:<database>:<config epoch>:<1 if only copied>

What stands behind such a line, up to the next one, is the history of that name from byte `offset` on, byte
for byte. So a server that has loaded its log knows which copy it has, as it does after a snapshot, and a
restart needs no full sync. Redis, Valkey and redis-check-aof pass over lines that begin with `#`.

Written by `redoubt.persist.append_log`, read by `redoubt.persist.aof_load`.
"""

from __future__ import annotations

from typing import Final

MARK: Final = b"#REDOUBT:"


def place_line(fields: dict[bytes, bytes], offset: int) -> bytes:
    """Return the annotation for what a snapshot would say of its place (see `Replication.dump_fields`)."""
    words = [
        fields.get(b"repl-id", b""),
        b"%d" % offset,
        fields.get(b"repl-stream-db", b"0"),
        fields.get(b"redoubt-epoch", b"0"),
        fields.get(b"redoubt-copied", b"0"),
    ]
    return MARK + b":".join(words) + b"\r\n"


def read_place(line: bytes) -> dict[bytes, bytes] | None:
    """Return what an annotation says, in the words of a snapshot; None for one that is not ours."""
    words = line[len(MARK) :].split(b":")
    if not line.startswith(MARK) or len(words) < 5 or not all(word.isdigit() for word in words[1:5]):
        return None
    fields = {b"repl-stream-db": words[2]}
    if len(words[0]) == 40:
        fields[b"repl-id"] = words[0]
        fields[b"repl-offset"] = words[1]
    if words[3] != b"0":
        fields[b"redoubt-epoch"] = words[3]
    if words[4] != b"0":
        fields[b"redoubt-copied"] = words[4]
    return fields
