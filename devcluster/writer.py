"""A writer that measures what one shard's clients notice: acknowledged writes and the gaps between them.

A `ShardWriter` writes numbered keys of one shard as fast as it is told to, follows MOVED and ASK, and tries
every member that it knows when the one it talks to is gone, as cluster clients do, only without their
waiting: its longest gap is the time for which a slot of the shard took no write, to within `RETRY_S`.
Afterwards `missing` reads every acknowledged key back. Used by the demo, the end-to-end tests and the
benchmarks, never by the product. An application's own client is played by cluster_writer.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import redis
from redis.crc import key_slot

Address = tuple[str, int]
ReadMany = Callable[[Sequence[str]], Sequence[object]]

# Between two attempts while nobody takes the write: the resolution of a measured gap.
RETRY_S: Final = 0.005
# Longer than any loaded machine's pause, shorter than a node timeout: a frozen master is left after this.
SOCKET_TIMEOUT_S: Final = 0.5
# Redirections that are followed at once; two nodes that name each other are asked at the pace of retries.
REDIRECTIONS: Final = 2
# Gaps shorter than this are the machine's, and are not listed one by one.
NOTABLE_GAP_S: Final = 0.02
# How long the end of a writer may take: its last command's answer, however slow.
STOP_LIMIT_S: Final = 30
# Slots of a shard over which its writer spreads its keys: some that move, some that stay.
TAGS: Final = 8


def tags_over_slots(slots: Sequence[int], count: int = TAGS) -> list[str]:
    """Find hash tags whose slots are spread over the given ones, one in each of `count` equal parts."""
    if not slots:
        raise ValueError("no slots to find hash tags for")
    count = min(count, len(slots))
    part_of = {slot: place * count // len(slots) for place, slot in enumerate(slots)}
    tags: dict[int, str] = {}
    number = 0
    while len(tags) < count:
        part = part_of.get(key_slot(str(number).encode()))
        if part is not None:
            tags.setdefault(part, str(number))
        number += 1
    return [tags[part] for part in range(count)]


class Journal:
    """The acknowledged numbers of a writer, and the gaps between the acknowledgements."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.gaps: list[tuple[float, float]] = []  # (when it began, how long), above NOTABLE_GAP_S
        self.longest_gap_s = 0.0
        self._last_s = 0.0

    def acknowledge(self, number: int) -> None:
        """Note that a write was acknowledged now."""
        now_s = time.monotonic()
        if self.acknowledged:
            gap_s = now_s - self._last_s
            self.longest_gap_s = max(self.longest_gap_s, gap_s)
            if gap_s > NOTABLE_GAP_S:
                self.gaps.append((self._last_s, gap_s))
        self._last_s = now_s
        self.acknowledged.append(number)


class ShardWriter(threading.Thread):
    """Writes to slots of one shard until stopped; `with` starts and stops it."""

    def __init__(
        self,
        addresses: Callable[[], Sequence[Address]],
        password: str,
        tags: Sequence[str],
        *,
        wait_replicas: int = 0,
        pause_s: float = 0.001,
        prefix: str = "w",
    ) -> None:
        """tags: hash tags, written to in turn; they name the slots that the writer asks after."""
        super().__init__(daemon=True, name=f"writer-{tags[0]}")
        self._addresses = addresses
        self._password = password
        self._prefix = prefix
        self._tags = list(tags)
        self._wait_replicas = wait_replicas
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._clients: dict[Address, redis.Redis] = {}
        self._turn = 0
        self.journal: Final = Journal()
        self.refusals: dict[str, int] = {}

    @property
    def acknowledged(self) -> list[int]:
        """The numbers of the writes that were acknowledged."""
        return self.journal.acknowledged

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two acknowledgements."""
        return self.journal.longest_gap_s

    def run(self) -> None:
        """Write one key after another; a number is only left when its write was acknowledged."""
        number = failed = 0
        targets: list[Address | None] = [None] * len(self._tags)
        while not self._stopping.is_set():
            turn = number % len(self._tags)
            target = targets[turn] or self._next_address()
            targets[turn], is_written = self._write(target, number)
            if not is_written:
                failed += 1
                if targets[turn] is None or failed > REDIRECTIONS:
                    time.sleep(RETRY_S)
                continue
            self.journal.acknowledge(number)
            number += 1
            failed = 0
            if self._pause_s:
                time.sleep(self._pause_s)
        for client in self._clients.values():
            client.close()

    def stop(self) -> None:
        """End the writing and wait for the last answer."""
        self._stopping.set()
        self.join(timeout=STOP_LIMIT_S)

    def __enter__(self) -> ShardWriter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def key(self, number: int) -> str:
        """Name the key of a number."""
        return f"{self._prefix}:{{{self._tags[number % len(self._tags)]}}}:{number}"

    def keys(self) -> list[str]:
        """List the acknowledged keys."""
        return [self.key(number) for number in self.acknowledged]

    def missing(self, read: ReadMany) -> list[str]:
        """List the acknowledged keys that `read` no longer finds with the value that was written."""
        keys = self.keys()
        values = read(keys)
        pairs = zip(self.acknowledged, keys, values, strict=True)
        return [key for number, key, value in pairs if value != str(number).encode()]

    def _next_address(self) -> Address | None:
        """Take the next of the given members and of those that redirections named."""
        addresses = list(dict.fromkeys([*self._addresses(), *self._clients]))
        self._turn += 1
        return addresses[self._turn % len(addresses)] if addresses else None

    def _client(self, address: Address) -> redis.Redis:
        if address not in self._clients:
            self._clients[address] = redis.Redis(
                host=address[0],
                port=address[1],
                password=self._password,
                socket_timeout=SOCKET_TIMEOUT_S,
                socket_connect_timeout=SOCKET_TIMEOUT_S,
                retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            )
        return self._clients[address]

    def _write(self, address: Address | None, number: int) -> tuple[Address | None, bool]:
        """Try one write; return where to try next (None: any member) and whether it was acknowledged."""
        if address is None:
            return None, False
        try:
            return address, self._set(self._client(address), number)
        except redis.exceptions.MovedError as moved:
            if (moved.host, moved.port) == address:
                self._refused("MOVED to the node that said so")
                return None, False
            return (moved.host, moved.port), False
        except redis.exceptions.AskError as asked:
            return address, self._write_asking((asked.host, asked.port), number)
        except (redis.exceptions.RedisError, OSError) as refused:
            self._refused(f"{type(refused).__name__}: {str(refused)[:60]}")
            return None, False

    def _set(self, client: redis.Redis, number: int) -> bool:
        client.execute_command("SET", self.key(number), str(number))
        if self._wait_replicas:
            acknowledged = client.execute_command("WAIT", self._wait_replicas, 1000)
            if acknowledged < self._wait_replicas:
                self._refused("WAIT: too few replicas")
                return False
        return True

    def _write_asking(self, address: Address, number: int) -> bool:
        """Write to the node that imports the slot; the owner stays the one to ask first."""
        try:
            client = self._client(address)
            client.execute_command("ASKING")
            return self._set(client, number)
        except (redis.exceptions.RedisError, OSError) as refused:
            self._refused(f"{type(refused).__name__}: {str(refused)[:60]}")
            return False

    def _refused(self, reason: str) -> None:
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
