"""Where COMMAND INFO and COMMAND DOCS differ from those of real servers, and why; which commands are missing.

Redoubt declares what Redis 7.2 declares. The judges are the version before it and one after it, so that a
difference from only one of them is mostly a change between the two. Names are those of COMMAND LIST; a test
fails for a difference that is not listed, and for an entry that is no longer one.
"""

from __future__ import annotations

from typing import Final

BOTH: Final = ("redis-7.0", "redis-8.0")
BEFORE: Final = ("redis-7.0",)
AFTER: Final = ("redis-8.0",)

_ONE_GROUP = "a usage line has one way to group: a token in front of several arguments is the group's own"
_TOKEN_NAME = "a literal is named as it is written"

# Names, fields, judges, reason.
DIFFERENCES: Final[list[tuple[str, str, tuple[str, ...], str]]] = [
    # What 7.2 changed.
    ("zrank zrevrank", "arity arguments", BEFORE, "7.2 has WITHSCORE"),
    ("acl|deluser acl|save acl|setuser", "tips", BEFORE, "7.2 sends them to all nodes"),
    ("acl|cat cluster|meet xclaim", "arguments", BEFORE, "7.2 names an argument otherwise"),
    ("xgroup|createconsumer xgroup|delconsumer xgroup|destroy xinfo|consumers", "arguments", BEFORE,
     "7.2 says group and consumer, 7.0 groupname and consumername"),
    ("command|getkeys command|getkeysandflags", "arguments", BEFORE, "7.0 names none"),
    ("geohash geopos pfmerge", "arguments", BEFORE, "7.2 says that members and sources may be left out"),
    ("client|list config|get psubscribe", "arguments", BEFORE, "7.0 has a group of one"),
    ("latency|reset", "tips", BEFORE, "the sum of the nodes' answers since 7.2"),
    ("wait", "categories", BEFORE, "it is blocking since 7.2"),
    ("hscan", "arguments", BEFORE, "7.4 has NOVALUES"),
    # What came after 7.2.
    ("blmove blpop brpop brpoplpush bzpopmax bzpopmin", "flags", AFTER,
     "scripts may call them, where they answer at once, since 7.4"),
    ("client|setname config|resetstat config|rewrite msetnx randomkey scan", "tips", AFTER, "hints of 8.0"),
    ("client|pause", "since", AFTER, "8.0 corrects the version"),
    ("cluster|shards cluster|slots", "flags", AFTER, "8.0 answers while it loads"),
    ("command|getkeys command|getkeysandflags", "arity", AFTER, "8.0 takes commands without arguments"),
    ("bitop cluster|setslot xinfo|stream", "arguments", AFTER, "8.0 describes the alternatives otherwise"),
    ("georadius georadiusbymember xread xreadgroup", "specs", AFTER, "8.0 calls the places incomplete"),
    ("sinterstore", "specs", AFTER, "8.0 corrects what happens to the destination"),
    # What is ours.
    ("wait", "flags", BOTH, "blocking as in 8.0, and not for scripts as in 7.0"),
    ("debug replconf", "arguments", BOTH, "Redis documents none"),
    ("geoadd zadd xgroup|create xgroup|setid", "arguments", BOTH, _TOKEN_NAME),
    ("georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore", "arguments",
     BOTH, _ONE_GROUP),
    ("client|kill xadd xtrim zinter zinterstore zunion zunionstore", "arguments", BOTH, _ONE_GROUP),
    ("module|loadex", "arguments", BOTH, "nothing that stands behind is looked at"),
    ("migrate", "arguments", BOTH, "in Redis AUTH is optional inside its own option"),
    ("lcs", "arguments", BOTH, "Redis counts its two keys as one place in one and as two in the other"),
    ("sort sort_ro", "arguments", BOTH, "Redis counts patterns among the keys"),
    ("xsetid", "arguments", BOTH, "numbers and ids have their types"),
]  # fmt: skip

# Commands of Redis 7.2, modules aside, and of the hash-field expiry family that are not here, and why.
MISSING: Final[dict[str, str]] = {}
