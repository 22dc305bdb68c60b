"""Users side by side: generated rules and calls, for ACL SETUSER, GETUSER, LIST and DRYRUN.

The judge is a server with the ACLs of Redis 7.2 (7.0 shows the same permissions by other rules). Commands and
categories are those whose members are the same in both; passwords are few, so that they meet.
"""

from __future__ import annotations

from hypothesis import strategies as st

COMMANDS = [
    b"get", b"set", b"GetRange", b"mset", b"mget", b"del", b"copy", b"rename", b"expire", b"object",
    b"client", b"lpush", b"lmove", b"sadd", b"sinterstore", b"hset", b"hgetall", b"zadd", b"zrangestore",
    b"ping", b"select", b"info", b"keys", b"flushall", b"publish", b"multi", b"memory", b"acl", b"touch",
    b"config", b"exists",
]  # fmt: skip
SUBCOMMANDS = [
    b"config|get",
    b"config|set",
    b"client|id",
    b"CLIENT|list",
    b"object|freq",
    b"memory|usage",
    b"acl|whoami",
]
FIRST_ARGUMENTS = [
    b"select|0",
    b"get|k1",
    b"SET|K1",
    b"config|nosuch",
    b"get|",
    b"config|get|port",
    b"nosuch|x",
]
CATEGORIES = [
    b"string", b"hash", b"list", b"set", b"sortedset", b"keyspace", b"read", b"write", b"connection",
    b"transaction", b"dangerous", b"admin", b"fast", b"slow", b"STRING", b"nosuch",
]  # fmt: skip
GLOBS = [b"*", b"k*", b"k1", b"k?", b"a[12]", b"", b"x:*", b"k 1", b"\\*"]
PASSWORDS = [b"one", b"two", b""]
DIGESTS = [
    b"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",  # of "one"
    b"7692C3AD3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
    b"123",
]
WORDS = [
    b"on", b"off", b"ON", b"nopass", b"resetpass", b"reset", b"allkeys", b"resetkeys", b"~*", b"allchannels",
    b"&*", b"resetchannels", b"allcommands", b"nocommands", b"+@all", b"-@all", b"clearselectors", b"",
    b"sanitize-payload", b"skip-sanitize-payload", b"bogus", b"+", b"-", b"%", b"%~x", b"%X~x", b"%RR~x",
    b"(", b")", b"+nosuch",
]  # fmt: skip


def _signed(signs: list[bytes], words: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(st.sampled_from(signs), st.sampled_from(words)).map(b"".join)


PERMISSIONS = st.one_of(
    _signed([b"+", b"-"], COMMANDS),
    _signed([b"+", b"-"], SUBCOMMANDS),
    _signed([b"+", b"-"], FIRST_ARGUMENTS),
    _signed([b"+@", b"-@"], CATEGORIES),
    _signed([b"~", b"%R~", b"%W~", b"%RW~", b"%wr~", b"%r~"], GLOBS),
    _signed([b"&"], GLOBS),
)
SELECTORS = st.lists(PERMISSIONS, max_size=4).map(lambda rules: b"(" + b" ".join(rules) + b")")
RULES = st.lists(
    st.one_of(
        PERMISSIONS,
        PERMISSIONS,
        SELECTORS,
        st.sampled_from(WORDS),
        _signed([b">", b"<"], PASSWORDS),
        _signed([b"#", b"!"], DIGESTS),
    ),
    max_size=8,
)

_KEYS = st.sampled_from([b"k1", b"k2", b"a1", b"b", b"x:1", b""])
_CHANNELS = st.sampled_from([b"k1", b"a1", b"k*", b"*"])


def _call(*words: bytes | st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.tuples(*(st.just(word) if isinstance(word, bytes) else word for word in words)).map(list)


# What is tried: reading, writing, both, several keys with different uses, no keys, channels, malformed calls.
CALLS = st.one_of(
    _call(b"GET", _KEYS),
    _call(b"SET", _KEYS, b"v"),
    _call(b"SET", _KEYS, b"v", b"GET"),
    _call(b"MGET", _KEYS, _KEYS),
    _call(b"MSET", _KEYS, b"v", _KEYS, b"v"),
    _call(b"COPY", _KEYS, _KEYS),
    _call(b"RENAME", _KEYS, _KEYS),
    _call(b"DEL", _KEYS, _KEYS),
    _call(b"EXISTS", _KEYS),
    _call(b"TOUCH", _KEYS),
    _call(b"LMOVE", _KEYS, _KEYS, b"LEFT", b"RIGHT"),
    _call(b"SINTERSTORE", _KEYS, _KEYS, _KEYS),
    _call(b"ZUNIONSTORE", _KEYS, b"2", _KEYS, _KEYS),
    _call(b"ZUNIONSTORE", _KEYS, b"x", _KEYS, _KEYS),
    _call(b"ZRANGESTORE", _KEYS, _KEYS, b"0", b"1"),
    _call(b"OBJECT", b"FREQ", _KEYS),
    _call(b"BITFIELD", _KEYS, b"GET", b"u8", b"0", b"OVERFLOW", b"SAT"),
    _call(b"BITFIELD", _KEYS, b"GET", b"u8", b"0", b"SET", b"u8", b"0", b"1"),
    _call(b"SORT", _KEYS, b"BY", b"nosort", b"STORE", _KEYS),
    _call(b"SORT", _KEYS, b"LIMIT", b"0", b"1"),
    _call(b"SORT_RO", _KEYS),
    _call(b"GEORADIUS", _KEYS, b"0", b"0", b"1", b"m", b"STORE", _KEYS),
    _call(b"GEORADIUS", _KEYS, b"0", b"0", b"1", b"m", b"STOREDIST", _KEYS),
    _call(b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", _KEYS, _KEYS, b"0", b"0"),
    _call(b"XREAD", b"COUNT", b"1", b"STREAMS", _KEYS, b"0"),
    _call(b"EVAL", b"return 1", b"1", _KEYS, _KEYS),
    _call(b"EVAL_RO", b"return 1", b"2", _KEYS, _KEYS),
    _call(b"FCALL", b"f", b"1", _KEYS),
    _call(b"MIGRATE", b"h", b"1", _KEYS, b"0", b"1", b"COPY"),
    _call(b"MIGRATE", b"h", b"1", b"", b"0", b"1", b"KEYS", _KEYS, _KEYS),
    _call(b"BLMPOP", b"0", b"2", _KEYS, _KEYS, b"LEFT"),
    _call(b"LMPOP", b"1", _KEYS, b"LEFT"),
    _call(b"SINTERCARD", b"2", _KEYS, _KEYS),
    _call(b"BITOP", b"AND", _KEYS, _KEYS, _KEYS),
    _call(b"PFCOUNT", _KEYS, _KEYS),
    _call(b"PFMERGE", _KEYS, _KEYS, _KEYS),
    _call(b"SSUBSCRIBE", _CHANNELS),
    _call(b"SPUBLISH", _CHANNELS, b"m"),
    _call(b"WATCH", _KEYS, _KEYS),
    _call(b"MEMORY", b"USAGE", _KEYS),
    _call(b"PUBLISH", _CHANNELS, b"m"),
    _call(b"SUBSCRIBE", _CHANNELS, _CHANNELS),
    _call(b"PSUBSCRIBE", _CHANNELS),
    _call(b"SELECT", st.sampled_from([b"0", b"1"])),
    _call(b"config", b"get", st.sampled_from([b"port", b"dir"])),
    _call(b"CONFIG", b"SET", b"port", b"1"),
    _call(b"CLIENT", b"ID"),
    _call(b"AUTH", b"x"),
    _call(b"PING"),
    _call(b"GET"),
    _call(b"NOSUCH", b"x"),
    _call(b"CONFIG", b"NOSUCH"),
)
USERS = st.sampled_from([b"alice", b"bob", b"default", b"nobody"])
