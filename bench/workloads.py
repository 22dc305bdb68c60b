"""What the benchmarks send: each command with its random parts, and what must be there before it runs.

A command has two forms. `keys` spreads it over 100,000 random keys, each a small container; `one` is what
redis-benchmark's own tests do: one large container, random members. Whatever pops finds its keys filled anew
before every measurement, with so many elements that no reply is nil: none of the keys may be gone afterwards.

Called by `bench.server` and `bench.hot_path`. `__rand_int__` is redis-benchmark's: twelve digits below the
number of keys, drawn for each occurrence.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from math import sqrt
from typing import Final

KEYS: Final = 100_000
RANDOM: Final = "__rand_int__"
# What redis-benchmark stores by default (-d 3).
VALUE: Final = "VXK"
# Elements of one command while a container is filled.
CHUNK: Final = 100

Words = list[bytes]
# Given how many commands are going to run, the commands that fill the server before.
Filling = Callable[[int], Iterator[Words]]


class Workload:
    """One command under test."""

    def __init__(
        self, words: str, filling: Filling | None = None, pops_from: int = 0, share: float = 1
    ) -> None:
        self.words = words.split()
        self.filling = filling
        # How many keys a pop takes from; as many must be left, or some reply was nil.
        self.pops_from = pops_from
        # About how fast it is, beside SET: from this follows how many commands make a measurement.
        self.share = share


def per_key(count: int) -> int:
    """Return how many elements each of the random keys needs so that `count` pops empty none of them."""
    mean = count / KEYS
    return int(mean + 8 * sqrt(mean) + 10)


def lists(count: int) -> Iterator[Words]:
    """Fill every key with a list."""
    elements = [VALUE.encode()] * per_key(count)
    for number in range(KEYS):
        yield [b"RPUSH", b"key:%012d" % number, *elements]


def sets(count: int) -> Iterator[Words]:
    """Fill every key with a set."""
    members = [b"member:%d" % number for number in range(per_key(count))]
    for number in range(KEYS):
        yield [b"SADD", b"key:%012d" % number, *members]


def sorted_sets(count: int) -> Iterator[Words]:
    """Fill every key with a sorted set of random scores."""
    draw = random.Random(1)
    for number in range(KEYS):
        words = [b"ZADD", b"key:%012d" % number]
        for member in range(per_key(count)):
            words += [b"%d" % draw.randrange(KEYS), b"member:%d" % member]
        yield words


def chunks(words: Words, elements: Iterator[bytes], count: int, width: int) -> Iterator[Words]:
    """Put `count` elements of `width` words each behind the words of one command, a hundred at a time."""
    for first in range(0, count, CHUNK):
        part = [next(elements) for _ in range(width * min(CHUNK, count - first))]
        yield [*words, *part]


def one_list(count: int) -> Iterator[Words]:
    """Fill one list."""
    return chunks([b"RPUSH", b"mylist"], repeat(VALUE.encode()), count + 1, 1)


def one_set(count: int) -> Iterator[Words]:
    """Fill one set."""
    return chunks(
        [b"SADD", b"myset"], (b"element:%012d" % number for number in range(count + 1)), count + 1, 1
    )


def one_sorted_set(count: int) -> Iterator[Words]:
    """Fill one sorted set with random scores."""
    draw = random.Random(1)
    words = (
        word
        for number in range(count + 1)
        for word in (b"%d" % draw.randrange(KEYS), b"element:%012d" % number)
    )
    return chunks([b"ZADD", b"myzset"], words, count + 1, 2)


def strings(count: int) -> Iterator[Words]:
    """Fill every key with a string."""
    for number in range(KEYS):
        yield [b"SET", b"key:%012d" % number, VALUE.encode()]


def long_list(count: int) -> Iterator[Words]:
    """Fill the list of LRANGE as redis-benchmark does."""
    return chunks([b"RPUSH", b"mylist"], repeat(VALUE.encode()), 1000, 1)


_KEY: Final = f"key:{RANDOM}"
_ELEMENT: Final = f"element:{RANDOM}"

KEYS_FORM: Final[dict[str, Workload]] = {
    "ping": Workload("PING"),
    "set": Workload(f"SET {_KEY} {VALUE}"),
    "get": Workload(f"GET {_KEY}", strings),
    "incr": Workload(f"INCR counter:{RANDOM}"),
    "lpush": Workload(f"LPUSH {_KEY} {VALUE}"),
    "rpush": Workload(f"RPUSH {_KEY} {VALUE}"),
    "lpop": Workload(f"LPOP {_KEY}", lists, KEYS),
    "rpop": Workload(f"RPOP {_KEY}", lists, KEYS),
    "sadd": Workload(f"SADD {_KEY} {_ELEMENT}"),
    "hset": Workload(f"HSET {_KEY} {_ELEMENT} {VALUE}"),
    "spop": Workload(f"SPOP {_KEY}", sets, KEYS),
    "zadd": Workload(f"ZADD {_KEY} {RANDOM} {_ELEMENT}"),
    "zpopmin": Workload(f"ZPOPMIN {_KEY}", sorted_sets, KEYS),
    "mset": Workload("MSET" + f" {_KEY} {VALUE}" * 10, share=0.25),
    "lrange_100": Workload("LRANGE mylist 0 99", long_list, share=0.3),
    "lrange_300": Workload("LRANGE mylist 0 299", long_list, share=0.12),
    "lrange_600": Workload("LRANGE mylist 0 599", long_list, share=0.06),
}
ONE_FORM: Final[dict[str, Workload]] = {
    "lpush": Workload(f"LPUSH mylist {VALUE}"),
    "rpush": Workload(f"RPUSH mylist {VALUE}"),
    "lpop": Workload("LPOP mylist", one_list, 1),
    "rpop": Workload("RPOP mylist", one_list, 1),
    "sadd": Workload(f"SADD myset {_ELEMENT}"),
    "hset": Workload(f"HSET myhash {_ELEMENT} {VALUE}"),
    "spop": Workload("SPOP myset", one_set, 1),
    "zadd": Workload(f"ZADD myzset {RANDOM} {_ELEMENT}"),
    "zpopmin": Workload("ZPOPMIN myzset", one_sorted_set, 1),
}
FORMS: Final = {"keys": KEYS_FORM, "one": ONE_FORM}


class Batch:
    """Some commands as one piece of bytes, and how many they are."""

    def __init__(self, commands: list[Words]) -> None:
        self.data = b"".join(encoded(words) for words in commands)
        self.count = len(commands)


def batches(commands: Iterator[Words]) -> list[Batch]:
    """Encode commands in pipelines of a hundred, to be sent as often as wanted."""
    found: list[Batch] = []
    while part := list(islice(commands, CHUNK)):
        found.append(Batch(part))
    return found


def fill(port: int, filling: list[Batch]) -> None:
    """Empty the server and run the filling; every reply must be a status or a number."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        replies = connection.makefile("rb")
        for batch in [Batch([[b"FLUSHALL"]]), *filling]:
            connection.sendall(batch.data)
            for _ in range(batch.count):
                reply = replies.readline()
                if reply[:1] not in (b"+", b":"):
                    raise SystemExit(f"filling failed: {reply!r}")


def encoded(words: Words) -> bytes:
    """Encode one command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
