"""What Redis 7.4 added beside times of fields, as scripts to be answered alike by a newer judge."""

from __future__ import annotations

NEWER_SCRIPTS: dict[str, str] = {
    "the last entry of a stream": """
        XREAD STREAMS s +
        XADD s 1-1 f v
        XADD s 2-1 f v
        XADD s 2-2 f v
        XREAD STREAMS s +
        XREAD COUNT 5 STREAMS s missing + 0
        XREAD STREAMS missing s + +
        XDEL s 2-2
        XREAD STREAMS s +
        XREAD STREAMS s $
        XGROUP CREATE s g 0
        XREADGROUP GROUP g c STREAMS s +
        XREADGROUP GROUP g c STREAMS s $
        XDEL s 2-1 1-1
        XREAD STREAMS s +
        XADD s 3-1 f v
        XREAD STREAMS s +
        SET t v
        XREAD STREAMS t +
        XREAD BLOCK 1 STREAMS missing +
    """,
    "clients of an age": """
        CLIENT KILL MAXAGE 100000
        CLIENT KILL MAXAGE 0
        CLIENT KILL MAXAGE -1
        CLIENT KILL MAXAGE x
        CLIENT KILL MAXAGE
        CLIENT KILL MAXAGE 100000 SKIPME no ID 1000000
    """,
    "fields without their values": """
        HSET h f 1 g 2
        HSCAN h 0 NOVALUES
        HSCAN h 0 NOVALUES COUNT 10
        HSCAN h 0 MATCH f NOVALUES
    """,
}
