"""Directed cases: short scripts whose every reply must equal that of a real server.

One line is one command, split as a shell would (quotes, and \\x escapes inside $'...' are not needed: binary
arguments are left to the state machine). Each script begins with empty databases. Another group's owner adds
scripts under names of his own.
"""

from __future__ import annotations

from tests.differential.bits import BIT_SCRIPTS
from tests.differential.geos import GEO_SCRIPTS
from tests.differential.hashes import HASH_SCRIPTS
from tests.differential.lists import LIST_SCRIPTS
from tests.differential.sets import SET_SCRIPTS
from tests.differential.sorted_sets import SORTED_SET_SCRIPTS
from tests.differential.sorting import SORT_SCRIPTS
from tests.differential.streams import STREAM_SCRIPTS

SCRIPTS: dict[str, str] = {
    "get and set": """
        GET missing
        SET k v
        GET k
        get k
        gEt k
        SET k '' NX
        SET k other XX
        SET k x XX GET
        SET k y NX GET
        SET new z NX GET
        SET new2 z XX GET
        SET k v NX XX
        SET k v EX
        SET k v EX 10 PX 10
        SET k v EX 10 EX 1000
        TTL k
        SET k w KEEPTTL
        TTL k
        SET k w KEEPTTL EX 10
        SET k w
        TTL k
        SET k v EX 0
        SET k v EX -1
        SET k v PX 0
        SET k v EX abc
        SET k v EX 9223372036854775807
        SET k v PX 9223372036854775807
        SET k v EXAT 9223372036854776
        SET k v EX 10 NX FOO
        SET k v EX ten FOO
        SET k v PERSIST
        SET k v nx get ex 1000
        SET k v EXAT 1
        GET k
        EXISTS k
    """,
    "set and its relatives": """
        SETNX k 1
        SETNX k 2
        SETEX k 0 v
        SETEX k -5 v
        SETEX k x v
        SETEX k 9223372036854775807 v
        SETEX k 1000 v
        TTL k
        PSETEX k 0 v
        PSETEX k 1000000 v
        PTTL k
        GETSET k new
        TTL k
        GETSET missing v
        GETDEL k
        GETDEL k
        MSET a 1 b 2 c
        MSET a 1 b 2
        MSET a 1 a 3
        MGET a b nope a
        MSETNX a 9 z 9
        MSETNX y 9 z 9
        MSETNX y 9 z
        MGET y z
        SETEX t 1000 v
        MSET t w
        TTL t
        STRLEN t
        STRLEN nope
    """,
    "getex": """
        GETEX missing EX 10
        SET k v
        GETEX k
        GETEX k EX 1000
        TTL k
        GETEX k PERSIST
        TTL k
        GETEX k PX 1000000
        GETEX k EX 10 PERSIST
        GETEX k NX
        GETEX k EX
        GETEX k EX 0
        GETEX k EX x
        GETEX missing EX x
        GETEX k EXAT 33177117420
        EXPIRETIME k
        GETEX k PXAT 1
        EXISTS k
    """,
    "counters": """
        INCR n
        INCRBY n 41
        DECR n
        DECRBY n 1
        OBJECT ENCODING n
        INCRBY n 9223372036854775807
        INCRBY n 9223372036854775807
        SET n 9223372036854775807
        INCR n
        SET n -9223372036854775808
        DECR n
        DECRBY n -9223372036854775808
        DECRBY n 9223372036854775808
        INCRBY n 1.5
        INCRBY n ''
        SET s ' 1'
        INCR s
        SET s 1x
        INCR s
        SET s 007
        INCR s
        SET s ''
        INCR s
        SETEX t 1000 5
        INCR t
        TTL t
        APPEND t 0
        INCR t
        OBJECT ENCODING t
    """,
    "floating point counters": """
        INCRBYFLOAT f 10.50
        INCRBYFLOAT f 0.1
        INCRBYFLOAT f -5
        SET f 5.0e3
        INCRBYFLOAT f 2.0e2
        SET f 0.1
        INCRBYFLOAT f 0.2
        INCRBYFLOAT f 1e-17
        INCRBYFLOAT f 1e-18
        SET f 3
        INCRBYFLOAT f 1.23456789012345678
        SET f 1e300
        INCRBYFLOAT f 1
        SET f 1e-300
        INCRBYFLOAT f 1e-300
        INCRBYFLOAT f 1e4932
        INCRBYFLOAT f 1e4932
        SET f 0
        INCRBYFLOAT f -0.0
        INCRBYFLOAT f -1e-30
        INCRBYFLOAT f inf
        INCRBYFLOAT f -infinity
        INCRBYFLOAT f nan
        INCRBYFLOAT f abc
        INCRBYFLOAT f ''
        INCRBYFLOAT f ' 1'
        INCRBYFLOAT f '1 '
        INCRBYFLOAT f 1e5000
        INCRBYFLOAT f 1e-5000
        INCRBYFLOAT f 0x1p3
        INCRBYFLOAT f 0x.8
        INCRBYFLOAT f +1
        INCRBYFLOAT f .5
        INCRBYFLOAT f 5.
        INCRBYFLOAT f .
        INCRBYFLOAT f 17976931348623157e292
        SET f text
        INCRBYFLOAT f 1
        SET f 9007199254740993
        INCRBYFLOAT f 1
        SET f 18446744073709551617
        INCRBYFLOAT f 1
        SET f 0.3
        INCRBYFLOAT f 0.6
        SETEX e 1000 1
        INCRBYFLOAT e 1.5
        TTL e
        INCR e
    """,
    "parts of strings": """
        APPEND s Hello
        APPEND s ' World'
        OBJECT ENCODING s
        GETRANGE s 0 4
        GETRANGE s -5 -1
        GETRANGE s 0 -1
        GETRANGE s -1 -5
        GETRANGE s 5 3
        GETRANGE s -100 2
        GETRANGE s 3 100
        GETRANGE s 100 200
        GETRANGE s -100 -50
        GETRANGE s -50 -100
        GETRANGE s a 1
        GETRANGE nope 0 1
        SUBSTR s 0 1
        SETRANGE s 6 Redis
        GET s
        SETRANGE s 20 x
        GET s
        STRLEN s
        SETRANGE s -1 x
        SETRANGE s x y
        SETRANGE nope 0 ''
        EXISTS nope
        SETRANGE s 0 ''
        SETRANGE nope 5 a
        GET nope
        SETRANGE s 536870911 ab
        SETRANGE s 9223372036854775807 ab
        SET n 12345
        SETRANGE n 1 9
        GET n
        INCR n
        GETRANGE n 0 0
        APPEND e ''
        EXISTS e
        SETEX t 1000 v
        APPEND t w
        TTL t
        SETRANGE t 0 z
        TTL t
        COPY s copied
        APPEND s tail
        GET copied
    """,
    "expiry": """
        EXPIRE nope 10
        SET k v
        EXPIRE k 1000 XX
        EXPIRE k 1000 NX
        EXPIRE k 2000 NX
        EXPIRE k 500 GT
        EXPIRE k 5000 GT
        EXPIRE k 10000 LT
        EXPIRE k 3000 LT
        TTL k
        EXPIRE k 10 NX XX
        EXPIRE k 10 NX GT
        EXPIRE k 10 GT LT
        EXPIRE k 10 FOO
        EXPIRE k 10 NX NX
        EXPIRE k 4000 xx gt
        EXPIRE k x NX
        EXPIRE k 9223372036854775807
        EXPIRE k -9223372036854775808
        EXPIRE k 9223372036854775
        PEXPIRE k 9223372036854775807
        PEXPIREAT k 9223372036854775807
        PTTL k
        PERSIST k
        PERSIST k
        PERSIST nope
        TTL k
        PTTL k
        EXPIRETIME k
        PEXPIRETIME k
        TTL nope
        PTTL nope
        EXPIRETIME nope
        PEXPIRETIME nope
        EXPIRE k 5 GT
        EXPIRE k 5000 LT
        TTL k
        EXPIREAT k 33177117420
        EXPIRETIME k
        PEXPIREAT k 33177117420500
        PEXPIRETIME k
        EXPIRETIME k
        EXPIRE k -1
        EXISTS k
        SET k v
        EXPIREAT k 1
        GET k
        SET k v
        PEXPIREAT k 0
        GET k
        SET k v
        EXPIRE k 0 XX
        EXISTS k
        EXPIRE k 0 LT
        EXISTS k
    """,
    "names": """
        RENAME nope x
        SET a 1
        RENAME a a
        RENAMENX a a
        RENAME a b
        EXISTS a b b
        SETEX c 1000 3
        RENAMENX c b
        RENAMENX c d
        TTL d
        RENAME d b
        TTL b
        GET b
        RENAME b d
        SET b plain
        RENAME b d
        TTL d
        COPY d d
        COPY nope x
        COPY d x
        COPY d x
        COPY d x REPLACE
        COPY d x REPLACE DB 0
        COPY d x DB
        COPY d x DB 1
        COPY d x DB 1
        COPY d x DB 1 REPLACE FOO
        COPY d x DB 99
        COPY d x DB -1
        COPY d x DB abc
        COPY d x DB 99999999999
        COPY d d DB 0
        COPY d d DB 1
        MOVE d 0
        MOVE d 1
        MOVE nope 2
        MOVE d 99
        MOVE d x
        MOVE d 99999999999
        MOVE d 2
        EXISTS d
        SELECT 2
        GET d
        SELECT 0
        TYPE x
        TYPE nope
        TOUCH x nope x
        UNLINK x nope
        DEL x a a
        RENAME nope nope
    """,
    "databases": """
        SET a 0
        SELECT 1
        SETEX a 1000 1
        SWAPDB 0 1
        GET a
        TTL a
        SELECT 0
        GET a
        TTL a
        DBSIZE
        SWAPDB 0 0
        SWAPDB 0 99
        SWAPDB x 1
        SWAPDB 0 x
        SWAPDB 0 -1
        FLUSHDB SYNC
        DBSIZE
        SELECT 1
        DBSIZE
        FLUSHDB FOO
        FLUSHDB ASYNC SYNC
        FLUSHALL async
        DBSIZE
        FLUSHALL FOO
        RANDOMKEY
        SELECT 99
        SELECT x
    """,
    "patterns": """
        MSET hello 1 hallo 2 hxllo 3 hllo 4 heeeello 5 'h*llo' 6 'h[llo' 7 'h\\llo' 8 '' 9
        KEYS *
        KEYS h?llo
        KEYS h*llo
        KEYS h[ae]llo
        KEYS h[^e]llo
        KEYS h[a-b]llo
        KEYS h[b-a]llo
        KEYS 'h\\*llo'
        KEYS 'h[[]llo'
        KEYS 'h\\\\llo'
        KEYS 'h[\\\\]llo'
        KEYS 'h[\\*]llo'
        KEYS h[llo
        KEYS h[^]llo
        KEYS h[]llo
        KEYS **
        KEYS ?*
        KEYS *?
        KEYS *o
        KEYS *l*l*
        KEYS h*e*o
        KEYS ''
        KEYS nope*
        KEYS [a-z]*
        KEYS *[
        KEYS 'hello\\'
        KEYS h[a-]llo
        KEYS h[-a]llo
    """,
    "scan arguments": """
        SCAN x
        SCAN -1 FOO
        SCAN 0 COUNT
        SCAN 0 COUNT 0
        SCAN 0 COUNT x
        SCAN 0 MATCH
        SCAN 0 FOO bar
        SCAN 0 TYPE string
        SCAN 0 TYPE list
        SCAN 99999999999999999999
        SCAN '' COUNT 10
        SCAN ' 0'
        SCAN +0
        SET k v
        SCAN 0
        SCAN 0 match k count 100 type STRING
        SCAN 0 MATCH x*
        SCAN 0 TYPE hash
    """,
    "object": """
        OBJECT
        OBJECT FOO
        OBJECT ENCODING
        OBJECT ENCODING nope
        OBJECT REFCOUNT nope
        OBJECT IDLETIME nope
        OBJECT FREQ nope
        SET k some-text
        OBJECT ENCODING k
        OBJECT REFCOUNT k
        OBJECT FREQ k
        OBJECT ENCODING k k
        SET k 12345
        OBJECT ENCODING k
        SET k 9223372036854775808
        OBJECT ENCODING k
        SET k 12345678901234567890123456789012345678901234
        OBJECT ENCODING k
        SET k 123456789012345678901234567890123456789012345
        OBJECT ENCODING k
        APPEND k x
        OBJECT ENCODING k
        SET k 1
        APPEND k 2
        OBJECT ENCODING k
        SET k ab
        SETRANGE k 0 x
        OBJECT ENCODING k
        SET k 01
        OBJECT ENCODING k
        SET k -0
        OBJECT ENCODING k
    """,
    "connection": """
        PING
        PING 'a message'
        PING a b
        ECHO hello
        ECHO
        SELECT 1
        SELECT 16
        SELECT -1
        SELECT x
        SELECT 0
        AUTH wrong
        AUTH user wrong
        AUTH a b c
        HELLO 4
        HELLO x
        HELLO 2 FOO
        HELLO 2 AUTH default
        HELLO 2 AUTH nobody wrong
        HELLO 2 SETNAME 'a b'
        CLIENT GETNAME
        CLIENT SETNAME 'a b'
        CLIENT SETNAME me
        CLIENT GETNAME
        CLIENT SETNAME ''
        CLIENT GETNAME
        CLIENT FOO
        CLIENT
        CLIENT REPLY maybe
        CLIENT NO-EVICT on
        CLIENT NO-EVICT maybe
        CLIENT KILL 1.2.3.4:5
        CLIENT KILL ID 999999
        CLIENT KILL ID x
        CLIENT UNBLOCK 999999
        CLIENT UNBLOCK x
        CLIENT PAUSE x
        CLIENT LIST TYPE foo
        NOSUCH
        NOSUCH a b 'c d'
        nosuch
    """,
    "dump and restore": """
        DUMP nope
        RESTORE k 0 garbage
        RESTORE k -1 garbage
        RESTORE k x garbage
        RESTORE k 0 garbage FOO
        RESTORE k 0 garbage IDLETIME
        RESTORE k 0 garbage IDLETIME 1 FREQ 1
        RESTORE k 0 garbage FREQ 256
        RESTORE k 0 garbage IDLETIME -1
        SET k v
        DUMP k
        RESTORE k x garbage
        RESTORE k 0 garbage REPLACE
        RESTORE k 0 '' REPLACE
        DUMP k extra
        RESTORE k 0
        MIGRATE 127.0.0.1 1 k 0 100
        MIGRATE 127.0.0.1 1 nope 0 100
        MIGRATE 127.0.0.1 1 '' 0 100 KEYS nope k
        MIGRATE 127.0.0.1 1 '' 0 100 KEYS nope
        MIGRATE 127.0.0.1 1 '' 0 100
        MIGRATE 127.0.0.1 1 k 0 100 KEYS k
        MIGRATE 127.0.0.1 1 '' 0 100 KEYS
        MIGRATE 127.0.0.1 1 k 0 100 AUTH
        MIGRATE 127.0.0.1 1 k 0 100 AUTH2 a
        MIGRATE 127.0.0.1 1 k 0 100 copy replace AUTH2 a b
        MIGRATE 127.0.0.1 1 k 0 x
        COMMAND GETKEYS MIGRATE 127.0.0.1 1 '' 0 100 COPY AUTH KEYS KEYS a b
        COMMAND GETKEYS MIGRATE 127.0.0.1 1 k 0 100
        COMMAND GETKEYS MIGRATE 127.0.0.1 1 k 0 100 KEYS a
        COMMAND GETKEYSANDFLAGS MIGRATE 127.0.0.1 1 '' 0 100 KEYS a b
        GET k
    """,
    "introspection": """
        COMMAND GETKEYS GET k
        COMMAND GETKEYS MSET a 1 b 2
        COMMAND GETKEYS DEL a b c
        COMMAND GETKEYS RENAME a b
        COMMAND GETKEYS SET k
        COMMAND GETKEYS PING
        COMMAND GETKEYS NOSUCH k
        COMMAND GETKEYS
        COMMAND INFO nosuch
        COMMAND FOO
        OBJECT HELP x
        CONFIG GET maxmemory
        CONFIG GET nosuch
        CONFIG GET max*policy
        CONFIG SET nosuch 1
        CONFIG SET maxmemory
        CONFIG SET maxmemory-policy nosuch
        CONFIG SET maxmemory x
        CONFIG SET maxmemory 100mb maxmemory-policy volatile-ttl
        CONFIG GET maxmemory maxmemory-policy
        CONFIG SET maxmemory 0 maxmemory-policy noeviction
        CONFIG SET databases 3
        CONFIG RESETSTAT
        MEMORY USAGE nope
        MEMORY FOO
    """,
    **HASH_SCRIPTS,
    **SET_SCRIPTS,
    **LIST_SCRIPTS,
    **SORTED_SET_SCRIPTS,
    **STREAM_SCRIPTS,
    **BIT_SCRIPTS,
    **GEO_SCRIPTS,
    **SORT_SCRIPTS,
}
