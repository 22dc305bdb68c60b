"""A soak: a server under everything that clients can do to it, for as long as asked.

    python -m bench.soak [--minutes 30] [--interpreted] [--seed 1] [--write docs/benchmarks.md]

Talkers run random commands over the whole vocabulary that the server itself reports (names, tokens of the
documentation, and half of the time calls that are likely to be valid), in pipelines, in RESP2 and RESP3, in
MULTI, and vanish in the middle of one in twenty. Noisy peers send malformed packets: cut, mutated,
oversized, or noise. Hoarders ask for megabytes and never read, and subscribe to channels that are flooded. An
observer asks PING every second, and at each interval lets everybody pause, empties the server, and takes its
memory.

It fails if the server stops answering, ends, writes a traceback to its log, sends a stream that is no RESP,
or if its memory, emptied, is higher in the last third than in the first by more than a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import statistics
import struct
import sys
import time
from pathlib import Path
from typing import Any, Final

from bench.memory import resident_bytes, used_memory
from bench.report import Report
from bench.server import ROOT, Server
from bench.workloads import encoded
from redoubt.resp.decoder import NEED_MORE, ReplyDecoder
from redoubt.resp.replies import ProtocolError

TALKERS: Final = 6
NOISY: Final = 2
HOARDERS: Final = 2
REPLY_S_MAX: Final = 1.0
# MONITOR shows a command of up to 8 MB (below) in one line, each byte in up to four.
MONITORED_BYTES_MAX: Final = 4 * 9_000_000
ANSWER_S_MAX: Final = 10.0
# How long it may take until all torment has paused; the ticks that give memory back come ten times a second.
REST_S_MAX: Final = 15.0
REST_S: Final = 0.5
# Emptied memory is compared between thirds; below this nothing is said of a short run.
SAMPLES_MIN: Final = 6
GROWTH_MAX: Final = 1.10
# Low enough that a soak meets them: 256 MB of data, strings of 1 MB, 8 MB unsent to a subscriber.
DIRECTIVES: Final = [
    "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru", "--proto-max-bulk-len", "1mb",
    "--client-output-buffer-limit", "pubsub 8mb 4mb 10", "--client-query-buffer-limit", "8mb",
    "--timeout", "60", "--notify-keyspace-events", "KEA",
]  # fmt: skip
# What would end the server, change whose data it has, stop all clients, or shut everybody out.
LEFT_OUT: Final = {
    b"shutdown", b"debug", b"replicaof", b"slaveof", b"failover", b"migrate", b"config", b"cluster",
    b"redoubt", b"acl", b"sync", b"psync", b"replconf", b"module", b"auth", b"restore-asking", b"save",
    b"bgsave", b"bgrewriteaof", b"client|pause",
}  # fmt: skip
LIKELY: Final = """
SET k v|GET k|INCR n|APPEND k v|SETRANGE k 10 v|GETRANGE k 0 5|MSET k v k v|GETEX k EX 5|SET k v PX 50
LPUSH l v v v|RPUSH l v|LPOP l|RPOP l 2|LRANGE l 0 -1|LINSERT l BEFORE v v|LREM l 0 v|LMOVE l l LEFT RIGHT
BLPOP l l 0.05|BLMOVE l l LEFT LEFT 0.05|LMPOP 2 l l LEFT COUNT 3|HSET h v v v v|HGETALL h|HDEL h v
HINCRBY h n 1|HEXPIRE h 1 FIELDS 1 v|HGETDEL h FIELDS 1 v|HRANDFIELD h 3 WITHVALUES|HSCAN h 0 COUNT 5
SADD s v v v|SPOP s|SREM s v|SINTER s s|SUNIONSTORE s s s|SRANDMEMBER s -5|SMOVE s s v|SSCAN s 0
ZADD z i v i v|ZADD z GT CH i v|ZINCRBY z i v|ZPOPMIN z|ZRANGE z 0 -1 WITHSCORES|ZUNIONSTORE z 2 z z
ZRANGEBYSCORE z -inf +inf LIMIT 0 5|ZRANK z v WITHSCORE|BZPOPMIN z 0.05|ZREMRANGEBYRANK z 0 1
XADD x * v v|XADD x MAXLEN ~ 50 * v v|XRANGE x - + COUNT 5|XREAD COUNT 2 STREAMS x 0|XLEN x
XGROUP CREATE x g $ MKSTREAM|XREADGROUP GROUP g c COUNT 2 STREAMS x >|XACK x g 1-1|XAUTOCLAIM x g c 0 0
PFADD p v v v|PFCOUNT p p|PFMERGE p p|SETBIT b 1000 1|BITCOUNT b|BITOP XOR b b b|BITFIELD b INCRBY u8 #2 10
GEOADD o 13.36 38.11 v|GEOSEARCH o FROMLONLAT 15 37 BYRADIUS 200 km|SORT l ALPHA LIMIT 0 5|COPY k k REPLACE
EXPIRE k 1|PEXPIRE l 20|PERSIST k|TTL k|DEL k l|UNLINK h s|RENAME k k|TYPE z|DUMP h|OBJECT ENCODING s|SCAN 0
MULTI|EXEC|DISCARD|WATCH k|UNWATCH|SUBSCRIBE ch|UNSUBSCRIBE|PSUBSCRIBE c*|PUBLISH ch v|SPUBLISH ch v
CLIENT TRACKING on|CLIENT TRACKING off|CLIENT ID|CLIENT LIST|HELLO 3|HELLO 2|SELECT 1|SELECT 0|RESET
EVAL return{redis.call('INCR',KEYS[1]),ARGV[1]} 1 n v|EVAL return{1,'x',{err='E'}} 0|SCRIPT FLUSH
INFO|MEMORY USAGE k|SLOWLOG GET 5|LATENCY HISTOGRAM|COMMAND COUNT|DBSIZE|RANDOMKEY|SWAPDB 0 1|WAIT 0 10
"""
NUMBERS: Final = b"0 1 -1 2 7 100 -100 1000 0.05 1.5 -inf 1099511627776".split()
CHANNEL: Final = b"flooded"


class Vocabulary:
    """Draws commands."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        # Name (and subcommand) with the tokens that its documentation names.
        self.commands: list[tuple[list[bytes], list[bytes]]] = []
        self.likely = [line.split() for line in LIKELY.replace("\n", "|").split("|") if line]

    def learn(self, docs: list[Any]) -> None:
        """Take the reply of COMMAND DOCS in RESP2: names and maps in turn."""
        for name, entry in zip(docs[::2], docs[1::2], strict=True):
            words = name.split(b"|")
            if words[0] not in LEFT_OUT and name not in LEFT_OUT:
                self.commands.append((words, tokens_of(entry)))

    def value(self) -> bytes:
        """Draw a value: nearly always short."""
        kind = self.draw.randrange(20)
        if kind < 12:
            return b"v%d" % self.draw.randrange(200)
        if kind < 17:
            return self.draw.choice(NUMBERS)
        return self.draw.randbytes(self.draw.choice([0, 3, 70, 300, 20_000]))

    def key(self, kind: str) -> bytes:
        """Draw a key whose letter says its type; other types meet it now and then."""
        letter = kind if self.draw.random() < 0.95 else self.draw.choice("klhszxpbon")
        return b"%b:%d" % (letter.encode(), self.draw.randrange(60))

    def call(self) -> list[bytes]:
        """Draw one command with its arguments."""
        if self.draw.random() < 0.5 or not self.commands:
            return [self.fill(word) for word in self.draw.choice(self.likely)]
        words, tokens = self.draw.choice(self.commands)
        call = list(words)
        for _ in range(self.draw.choice([0, 1, 1, 2, 2, 3, 4, 6])):
            kind = self.draw.randrange(10)
            if kind < 5:
                call.append(self.key(self.draw.choice("klhszxpbon")))
            elif kind < 7 and tokens:
                call.append(self.draw.choice(tokens))
            else:
                call.append(self.value())
        return call

    def fill(self, word: str) -> bytes:
        """Replace the letters of a template."""
        if word == "v":
            return self.value()
        if word == "i":
            return self.draw.choice(NUMBERS[:9])
        if word in "klhszxpbon":
            return self.key(word)
        return CHANNEL if word == "ch" else word.encode()

    def noise(self) -> bytes:
        """Draw bytes that are no command, or nearly one."""
        packet = bytearray(encoded(self.call()))
        kind = self.draw.randrange(6)
        if kind == 0:
            return self.draw.randbytes(self.draw.randrange(1, 4000))
        if kind == 1:
            return bytes(packet[: self.draw.randrange(len(packet))])
        if kind == 2:
            for _ in range(self.draw.randrange(1, 5)):
                packet[self.draw.randrange(len(packet))] = self.draw.randrange(256)
            return bytes(packet)
        if kind == 3:
            return b"*%d\r\n$%d\r\n" % (
                self.draw.choice([-1, 0, 1 << 20, 1 << 40]),
                self.draw.randrange(1 << 33),
            )
        if kind == 4:
            return b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n" + bytes(self.draw.randrange(1 << 20))
        return b"x" * self.draw.randrange(1 << 17)


def tokens_of(entry: Any) -> list[bytes]:
    """Collect all tokens in the documentation of a command."""
    found: list[bytes] = []
    if isinstance(entry, list):
        for place, item in enumerate(entry):
            if item == b"token" and place + 1 < len(entry) and isinstance(entry[place + 1], bytes):
                found.append(entry[place + 1])
            found += tokens_of(item)
    return found


class Soak:
    """One run: the server, its tormentors, and what was seen."""

    def __init__(self, server: Server, vocabulary: Vocabulary, until_s: float) -> None:
        self.server = server
        self.vocabulary = vocabulary
        self.draw = random.Random(vocabulary.draw.random())
        self.until_s = until_s
        self.counts = {"commands": 0, "errors": 0, "vanished": 0, "malformed": 0, "hoards": 0, "closed": 0}
        self.longest_ping_s = 0.0
        # While the memory is taken nobody torments the server: buffers of those who never read are no leak.
        self.is_resting = False
        self.at_work = 0
        self.emptied_mb: list[float] = []
        self.said_mb: list[float] = []
        self.failures: list[str] = []

    def goes_on(self) -> bool:
        """Say whether it is not over yet."""
        return time.monotonic() < self.until_s and not self.failures

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        return await asyncio.open_connection("127.0.0.1", self.server.port, limit=1 << 20)

    async def ask(self, *words: bytes) -> Any:
        """Run one command on a connection of its own."""
        reader, writer = await self.connect()
        writer.write(encoded(list(words)))
        replies = await self.read(reader, ReplyDecoder(), 1, ANSWER_S_MAX)
        writer.close()
        if not replies:
            raise ConnectionError(f"no reply to {words[0].decode()}")
        return replies[0]

    async def read(
        self, reader: asyncio.StreamReader, decoder: ReplyDecoder, count: int, seconds: float
    ) -> list[Any]:
        """Read until `count` replies are there, the time is up, or the server closes."""
        found: list[Any] = []
        deadline_s = time.monotonic() + seconds
        while len(found) < count and (left_s := deadline_s - time.monotonic()) > 0:
            try:
                data = await asyncio.wait_for(reader.read(1 << 16), left_s)
            except (TimeoutError, OSError):
                break
            if not data:
                self.counts["closed"] += 1
                break
            decoder.feed(data)
            while (reply := decoder.next()) is not NEED_MORE:
                found.append(reply)
        return found

    async def again(self, work: Any) -> None:
        """Repeat one kind of torment until the end; being thrown out is part of it."""
        while self.goes_on():
            if self.is_resting:
                await asyncio.sleep(0.05)
                continue
            self.at_work += 1
            try:
                await work()
            except OSError:
                await asyncio.sleep(0.01)
            except ProtocolError as error:
                self.failures.append(f"a stream that is no RESP: {error.text!r}")
            finally:
                self.at_work -= 1

    async def talk(self) -> None:
        """Run pipelines of random commands on one connection, and perhaps vanish."""
        reader, writer = await self.connect()
        decoder = ReplyDecoder()
        decoder.line_bytes_max = MONITORED_BYTES_MAX
        for _ in range(self.draw.randrange(1, 40)):
            calls = [self.vocabulary.call() for _ in range(self.draw.choice([1, 1, 5, 16, 50]))]
            writer.write(b"".join(encoded(call) for call in calls))
            self.counts["commands"] += len(calls)
            if self.draw.random() < 0.05:
                self.vanish(writer)
                return
            replies = await self.read(reader, decoder, len(calls), REPLY_S_MAX)
            self.counts["errors"] += sum(type(reply).__name__ == "ErrorReply" for reply in replies)
            if len(replies) < len(calls) or not self.goes_on() or self.is_resting:
                break
        writer.close()

    def vanish(self, writer: asyncio.StreamWriter) -> None:
        """End the connection as the kernel of a killed client does."""
        self.counts["vanished"] += 1
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def babble(self) -> None:
        """Send malformed packets and take what comes."""
        reader, writer = await self.connect()
        for _ in range(self.draw.randrange(1, 4)):
            writer.write(self.vocabulary.noise())
            self.counts["malformed"] += 1
        with contextlib.suppress(
            ProtocolError
        ):  # half of what it sent may be a command for a stream of its own
            await self.read(reader, ReplyDecoder(), 1, 0.05)
        self.vanish(writer)

    async def hoard(self) -> None:
        """Ask for more than is ever read."""
        reader, writer = await self.connect()
        self.counts["hoards"] += 1
        if self.draw.random() < 0.5:
            big = bytes(200_000)
            writer.write(encoded([b"SET", b"k:big", big]) + encoded([b"GET", b"k:big"]) * 2000)
        else:
            writer.write(encoded([b"SUBSCRIBE", CHANNEL]))
            _, flood = await self.connect()
            flood.write(encoded([b"PUBLISH", CHANNEL, bytes(500_000)]) * 100)
            await asyncio.sleep(self.draw.random())
            flood.close()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(2 * self.draw.random())
        self.vanish(writer)

    async def observe(self, interval_s: float) -> None:
        """Ask PING every second; empty the server at each interval and take its memory."""
        emptied_s = time.monotonic()
        while self.goes_on():
            began_s = time.monotonic()
            try:
                await self.ask(b"PING")
                if time.monotonic() - emptied_s > interval_s:
                    await self.take_memory()
                    emptied_s = time.monotonic()
            except OSError as error:
                self.failures.append(f"it does not answer: {error!r}")
            self.longest_ping_s = max(self.longest_ping_s, time.monotonic() - began_s)
            if self.server.process.poll() is not None:
                self.failures.append(f"the server has ended: {self.server.process.returncode}")
            await asyncio.sleep(1)

    async def take_memory(self) -> None:
        """Let everybody rest, empty the server, and note what it takes."""
        self.is_resting = True
        until_s = time.monotonic() + REST_S_MAX
        while self.at_work and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        for words in (
            [b"FLUSHALL", b"SYNC"],
            [b"SCRIPT", b"FLUSH", b"SYNC"],
            [b"FUNCTION", b"FLUSH", b"SYNC"],
        ):
            await self.ask(*words)
        await asyncio.sleep(REST_S)
        self.emptied_mb.append(resident_bytes(self.server) / 1e6)
        self.said_mb.append(used_memory(self.server) / 1e6)
        self.is_resting = False

    async def run(self, interval_s: float) -> None:
        """Torment the server until the end."""
        self.vocabulary.learn(await self.ask(b"COMMAND", b"DOCS"))
        work = [self.talk] * TALKERS + [self.babble] * NOISY + [self.hoard] * HOARDERS
        await asyncio.gather(self.observe(interval_s), *(self.again(one) for one in work))

    def conclude(self, log: str) -> None:
        """Judge the log and the memory."""
        for mark in ("Traceback", "Internal error"):
            if mark in log:
                place = log.index(mark)
                self.failures.append(f"in the log: {log[max(0, place - 200) : place + 1500]}")
                break
        if len(self.emptied_mb) >= SAMPLES_MIN:
            third = len(self.emptied_mb) // 3
            first = statistics.median(self.emptied_mb[:third])
            last = statistics.median(self.emptied_mb[-third:])
            if last > first * GROWTH_MAX:
                self.failures.append(f"emptied, it takes {last:.0f} MB at the end and took {first:.0f} MB")


def main() -> None:
    """Run the soak and judge it."""
    parser = argparse.ArgumentParser(description="Torment a server and see whether it stands.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interpreted", action="store_true")
    parser.add_argument(
        "--write", type=Path, help="put the outcome into this file, in the place of the last one"
    )
    options = parser.parse_args()
    report = Report("Soak", options.write)
    build = ".venv" if options.interpreted else ".venv-compiled"
    server = Server("redoubt", [str(ROOT / build / "bin/redoubt-server"), *DIRECTIVES], is_cluster=False)
    soak = Soak(server, Vocabulary(options.seed), time.monotonic() + options.minutes * 60)
    try:
        asyncio.run(soak.run(options.minutes * 60 / 15))
        soak.conclude(Path(server.directory, "log").read_text(errors="replace"))
    finally:
        server.stop()
    report.say(f"python -m bench.soak --minutes {options.minutes:g} --seed {options.seed}, {build}")
    report.say(f"{len(soak.vocabulary.commands)} commands and subcommands of its own documentation")
    report.say(", ".join(f"{count:,} {name}" for name, count in soak.counts.items()))
    report.say(f"longest PING, connecting included: {soak.longest_ping_s:.2f} s")
    report.say("resident MB after each FLUSHALL: " + " ".join(f"{value:.0f}" for value in soak.emptied_mb))
    report.say("used_memory then, MB: " + " ".join(f"{value:.1f}" for value in soak.said_mb))
    for failure in soak.failures:
        report.say(f"FAILED: {failure}")
    report.say("no failure" if not soak.failures else f"{len(soak.failures)} failures")
    report.close()
    sys.exit(1 if soak.failures else 0)


if __name__ == "__main__":
    main()
