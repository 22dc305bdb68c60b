"""Datasets of every type in every encoding, as commands that any server runs; the same for the same seed.

Sizes lie around the limits at which encodings change, texts around the lengths at which entries of packs do.
Chunks of lists and nodes of streams come out as each server likes; what is made is equal all the same.
"""

from __future__ import annotations

import random
from typing import Final

Command = list[bytes]

COUNTS: Final = (1, 2, 5, 30, 127, 128, 129, 300, 511, 512, 513, 1500)
LENGTHS: Final = (0, 1, 4, 11, 20, 21, 63, 64, 65, 200, 4095, 4096, 9000, 20_000)
NUMBERS: Final = (
    0, 12, 13, 63, 64, 127, 128, -1, -128, -129, 255, 4095, 4096, -4096, -4097, 32767, 32768, -32769, 1 << 23,
    -(1 << 23) - 1, (1 << 31) - 1, 1 << 31, -(1 << 31) - 1, (1 << 63) - 1, -(1 << 63),
)  # fmt: skip
SCORES: Final = (
    b"0",
    b"-0.0",
    b"1",
    b"-1.5",
    b"3.1415926535897931",
    b"1e300",
    b"-1e-300",
    b"inf",
    b"-inf",
    b"17",
)
CHUNK: Final = 400
# Long after everything here has ended: 2200.
DUE_MS: Final = 7_258_118_400_000
LIBRARY: Final = b"#!lua name=%s\nredis.register_function('%s_f', function(keys, args) return '%s' end)"


def dataset(seed: int, has_field_times: bool = False) -> list[Command]:
    """Return the commands of one dataset of some sixty keys in two databases."""
    draw = random.Random(seed)
    commands: list[Command] = []
    for database in (b"0", b"7"):
        commands.append([b"SELECT", database])
        for number in range(30):
            key = b"%s:%d:%s" % (draw.choice((b"key", b"k" * 70, b"\x00\xff")), number, b"%d" % seed)
            make = draw.choice((texts, lists, sets, integers, hashes, sorted_sets, streams))
            commands += make(draw, key)
            if make is hashes and has_field_times and draw.random() < 0.7:
                commands += field_times(draw, key, commands)
            if draw.random() < 0.3:
                commands.append([b"PEXPIREAT", key, b"%d" % (DUE_MS + draw.randrange(10**9))])
    for name in (b"one", b"two"):
        commands.append([b"FUNCTION", b"LOAD", LIBRARY % (name, name, b"x" * draw.choice((1, 500)))])
    return commands


def text(draw: random.Random, is_short: bool = False) -> bytes:
    """Return a text: a number, random bytes, or something that LZF makes smaller."""
    kind = draw.random()
    if kind < 0.3:
        return b"%d" % draw.choice(NUMBERS)
    length = draw.choice(LENGTHS[:8] if is_short else LENGTHS)
    if kind < 0.6:
        return draw.randbytes(length)
    return (draw.randbytes(3) * (length // 3 + 1))[:length]


def elements(draw: random.Random) -> list[bytes]:
    """Return distinct texts, of which only few are long where there are many."""
    count = draw.choice(COUNTS)
    is_short = count > 30 and draw.random() < 0.8
    found = {text(draw, is_short or count > 300) for _ in range(min(count, 20))}
    found |= {b"element:%d" % number for number in range(count - len(found))}
    return sorted(found, key=lambda _: draw.random())


def in_chunks(head: Command, words: list[bytes], width: int = 1) -> list[Command]:
    size = CHUNK * width
    return [[*head, *words[at : at + size]] for at in range(0, len(words), size)]


def texts(draw: random.Random, key: bytes) -> list[Command]:
    return [[b"SET", key, text(draw)], [b"APPEND", key, b"tail"]][: draw.choice((1, 1, 2))]


def lists(draw: random.Random, key: bytes) -> list[Command]:
    made = in_chunks(
        [draw.choice((b"RPUSH", b"LPUSH")), key], [text(draw) for _ in range(draw.choice(COUNTS))]
    )
    return [*made, [b"LINSERT", key, b"BEFORE", b"0", b"middle"]]


def sets(draw: random.Random, key: bytes) -> list[Command]:
    return in_chunks([b"SADD", key], elements(draw))


def integers(draw: random.Random, key: bytes) -> list[Command]:
    top = draw.choice((100, 1 << 15, 1 << 31, 1 << 62))
    return in_chunks([b"SADD", key], [b"%d" % draw.randint(-top, top) for _ in range(draw.choice(COUNTS))])


def hashes(draw: random.Random, key: bytes) -> list[Command]:
    pairs = [word for field in elements(draw) for word in (field, text(draw, is_short=draw.random() < 0.9))]
    return in_chunks([b"HSET", key], pairs, 2)


def field_times(draw: random.Random, key: bytes, made: list[Command]) -> list[Command]:
    """Return commands that let some fields of a hash expire, far in the future."""
    fields = [word for command in made if command[:2] == [b"HSET", key] for word in command[2::2]]
    chosen = draw.sample(fields, min(len(fields), draw.choice((1, 5, 40))))
    return [
        [b"HPEXPIREAT", key, b"%d" % (DUE_MS + draw.randrange(10**6)), b"FIELDS", b"1", field]
        for field in chosen
    ]


def sorted_sets(draw: random.Random, key: bytes) -> list[Command]:
    words = []
    for member in elements(draw):
        words += [draw.choice(SCORES) if draw.random() < 0.5 else b"%a" % (draw.random() * 1000), member]
    return in_chunks([b"ZADD", key], words, 2)


def streams(draw: random.Random, key: bytes) -> list[Command]:
    count = draw.choice((1, 5, 130, 400))
    made: list[Command] = []
    for number in range(1, count + 1):
        fields = [b"f", b"g"] if draw.random() < 0.8 else [text(draw, True) + b"x", b"h", b"i"]
        words = [word for field in fields for word in (field, text(draw, True))]
        made.append([b"XADD", key, b"%d-%d" % (1000 + number // 3, number), *words])
    for number in draw.sample(range(1, count + 1), count // 4):
        made.append([b"XDEL", key, b"%d-%d" % (1000 + number // 3, number)])
    for group in (b"g1", b"group two")[: draw.choice((0, 1, 2))]:
        made.append([b"XGROUP", b"CREATE", key, group, draw.choice((b"0", b"$", b"1001-5"))])
        for consumer in (b"c1", b"c2"):
            made.append([b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"7", b"STREAMS", key, b">"])
        made.append([b"XGROUP", b"CREATECONSUMER", key, group, b"idle"])
    if draw.random() < 0.2:
        made.append([b"XTRIM", key, b"MAXLEN", b"0"])
    return made
