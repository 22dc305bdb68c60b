"""Writes that may leave a key as it is: for each, what the key holds before; a judge says which are changes.

Clients that watch a key or cache it are told of a change, whatever came of it. Most commands tell only if
something has changed, some always, a few never. The commands to be tried one by one are separated by ` ; `.
"""

from __future__ import annotations

# By what makes `k`.
NO_CHANGES: dict[str, str] = {
    "SET k v": """
        SET k v ; SETNX k w ; SET k w NX ; SET k w GET ; GETSET k v ; APPEND k '' ; SETRANGE k 0 '' ;
        SETRANGE k 0 v ; PERSIST k ; EXPIRE k 100 ; EXPIRE k 100 XX ; EXPIRE k 100 GT ; GETEX k ;
        GETEX k PERSIST ; GETEX k EX 100 ; SETBIT k 0 0 ; BITFIELD k GET u8 0 ;
        BITFIELD k SET u8 0 118 ; BITFIELD k OVERFLOW FAIL INCRBY u8 0 255 ; GET k ; TOUCH k ;
        MSETNX k w j w ; MSET k v ; COPY k j ; COPY j k ; RENAME k k ; RENAMENX k k ; MOVE k 1 ;
        RENAMENX j k ; SADD k a ; INCR k ; INCRBYFLOAT k 0 ; OBJECT ENCODING k ; TTL k ;
        SORT k STORE k ; PFADD k a ; GETDEL j ; UNLINK j
    """,
    "SET k 5": """
        INCRBY k 0 ; INCRBYFLOAT k 0 ; DECRBY k 0 ; INCR k ; SETBIT k 7 1 ; LCS k k
    """,
    "SET k v EX 1000": """
        EXPIRE k 100 NX ; EXPIRE k 10 GT ; EXPIRE k 1000000 LT ; EXPIRE k 1000000 GT ; PERSIST k ;
        SET k v KEEPTTL ; GETEX k PERSIST ; EXPIRE k -1
    """,
    "SADD k a b": """
        SADD k a ; SADD k a b ; SADD k c ; SADD k a c ; SREM k x ; SREM k a ; SMOVE k j x ;
        SMOVE k j a ; SMOVE j k a ; SMOVE k k a ; SPOP k 0 ; SPOP k ; SRANDMEMBER k ; SINTERSTORE k k ;
        SUNIONSTORE k k j ; SDIFFSTORE k k j ; SDIFFSTORE j k k ; SINTERSTORE k j k
    """,
    "SADD k 1 2": """
        SADD k 1 ; SADD k 1 2 ; SREM k 3 ; SADD k x
    """,
    "HSET k f v n 1": """
        HSET k f v ; HSET k f w ; HMSET k f v ; HSETNX k f w ; HSETNX k g w ; HDEL k x ; HDEL k f ;
        HINCRBY k n 0 ; HINCRBYFLOAT k n 0 ; HINCRBY k f 1 ; HSTRLEN k f ; HRANDFIELD k 1
    """,
    "RPUSH k a b": """
        LPUSHX k a ; LPUSHX j a ; LREM k 0 x ; LREM k 0 a ; LSET k 0 a ; LSET k 9 a ;
        LINSERT k BEFORE x y ; LINSERT k BEFORE a y ; LTRIM k 0 -1 ; LTRIM k 5 9 ; LPOP k 0 ; RPOP k 0 ;
        LPOP k ; LPOP k 9 ; RPOPLPUSH k k ; LMOVE k k LEFT LEFT ; RPOPLPUSH j k ; LMPOP 1 k LEFT ;
        LMPOP 2 j k LEFT COUNT 5 ; LPOS k a ; SORT k ALPHA STORE k ; BLPOP k 1 ;
        BLMOVE k k LEFT LEFT 1
    """,
    "RPUSH k a": """
        RPOPLPUSH k k ; LMOVE k k LEFT RIGHT ; LTRIM k 0 0 ; LPOP k
    """,
    "ZADD k 1 a 2 b": """
        ZADD k 1 a ; ZADD k NX 5 a ; ZADD k XX 5 x ; ZADD k GT 0 a ; ZADD k LT 9 a ; ZADD k XX CH 1 a ;
        ZADD k INCR 0 a ; ZADD k 3 a ; ZADD k 1 a 5 c ; ZADD k NX INCR 1 a ; ZINCRBY k 0 a ; ZREM k x ;
        ZREM k a ; ZREMRANGEBYSCORE k 8 9 ; ZREMRANGEBYRANK k 8 9 ; ZREMRANGEBYLEX k [x [y ;
        ZREMRANGEBYRANK k 0 9 ; ZPOPMIN k 0 ; ZPOPMIN k ; ZPOPMAX k 9 ; ZRANGESTORE k k 0 -1 ;
        ZRANGESTORE k j 0 -1 ; ZUNIONSTORE k 1 k ; ZINTERSTORE k 2 k j ; ZDIFFSTORE k 2 k j ;
        ZMPOP 1 k MIN ; ZRANDMEMBER k ; BZPOPMIN k 1
    """,
    "XADD k 1-1 f v": """
        XDEL k 9-9 ; XDEL k 1-1 ; XTRIM k MAXLEN 5 ; XTRIM k MINID 0 ; XTRIM k MAXLEN 0 ;
        XADD k 1-1 f v ; XADD k 2-1 f v ; XADD j NOMKSTREAM 2-1 f v ; XGROUP CREATE k g 0 ;
        XGROUP DESTROY k g ; XSETID k 1-1 ; XSETID k 5-1 ; XACK k g 1-1 ; XRANGE k - + ;
        XREAD STREAMS k 0 ; XLEN k
    """,
    "PFADD k a": """
        PFADD k a ; PFADD k ; PFADD k b ; PFCOUNT k ; PFMERGE k ; PFMERGE k j ; PFMERGE k k ;
        PFMERGE j k
    """,
    "GEOADD k 13.36 38.11 a": """
        GEOADD k 13.36 38.11 a ; GEOADD k NX 1 1 a ; GEOADD k 1 1 a ;
        GEOSEARCHSTORE k k FROMMEMBER a BYRADIUS 1 km ;
        GEOSEARCHSTORE k j FROMLONLAT 1 1 BYRADIUS 1 km
    """,
    "DEL k": """
        DEL k ; UNLINK k ; SREM k a ; HDEL k f ; LREM k 0 a ; LTRIM k 0 1 ; ZREM k a ; SETRANGE k 0 '' ;
        APPEND k '' ; PERSIST k ; EXPIRE k 100 ; PFADD k ; PFMERGE k ; BITOP AND k j ; SUNIONSTORE k j ;
        SINTERSTORE k j j ; ZUNIONSTORE k 1 j ; SORT j STORE k ; SPOP k ; LPOP k ;
        XADD k NOMKSTREAM * f v ; GETDEL k ; RPOPLPUSH j k ; ZRANGESTORE k j 0 1 ; BITFIELD k GET u8 0 ;
        SETBIT k 0 0 ; XTRIM k MAXLEN 0 ; COPY j k ; ZADD k XX 1 a ; HINCRBY k n 0 ; LPUSHX k a ;
        GETEX k PERSIST ; BITFIELD k INCRBY u8 0 0 ; EVAL 'return 1' 1 k ;
        EVAL "return redis.call('sadd',KEYS[1],'a')" 1 k ; FLUSHALL ; RENAME j k ;
        GEOSEARCHSTORE k j FROMLONLAT 1 1 BYRADIUS 1 km
    """,
}
# A stream with a group, whose entry 1-1 is pending for the consumer c.
GROUPS = [
    "XADD k 1-1 f v",
    "XADD k 1-2 f v",
    "XGROUP CREATE k g 0",
    "XREADGROUP GROUP g c COUNT 1 STREAMS k >",
]
GROUP_CALLS = """
    XACK k g 1-1 ; XACK k g 9-9 ; XGROUP CREATE k g 0 ; XGROUP SETID k g 1-1 ; XGROUP SETID k g $ ;
    XGROUP CREATECONSUMER k g c ; XGROUP CREATECONSUMER k g d ; XGROUP DELCONSUMER k g c ;
    XGROUP DELCONSUMER k g x ; XGROUP DESTROY k x ; XGROUP DESTROY k g ;
    XREADGROUP GROUP g c STREAMS k > ; XREADGROUP GROUP g c STREAMS k 0 ;
    XREADGROUP GROUP g c STREAMS k 9 ; XREADGROUP GROUP g d STREAMS k 9 ;
    XREADGROUP GROUP g c NOACK STREAMS k > ; XCLAIM k g d 0 1-1 ; XCLAIM k g d 9999999 1-1 ;
    XCLAIM k g c 0 9-9 ; XCLAIM k g c 0 9-9 FORCE ; XAUTOCLAIM k g d 0 0 ; XAUTOCLAIM k g d 9999999 0 ;
    XPENDING k g ; XINFO STREAM k
"""
