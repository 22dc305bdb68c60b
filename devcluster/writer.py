"""Writers that measure what a client notices: acknowledged writes, the gaps between them, and what is left
of them.

A `ShardWriter` writes numbered keys of one shard as fast as it is told to, follows MOVED, and tries every
member of the shard when the one it talks to is gone, as cluster clients do, only without their waiting:
its longest gap is the time for which the shard took no write, to within `RETRY_S`. Afterwards `missing`
reads every acknowledged key back. Used by the demo, the end-to-end tests and the operator's benchmark,
never by the product.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import redis
from redis.crc import key_slot

Address = tuple[str, int]

# Between two attempts while nobody takes the write: the resolution of a measured gap.
RETRY_S: Final = 0.005
# Longer than any loaded machine's pause, shorter than a node timeout: a frozen master is left after this.
SOCKET_TIMEOUT_S: Final = 0.5


def tag_of_slots(first: int, last: int) -> str:
    """Find a hash tag whose slot lies in first..last."""
    for number in range(1_000_000):
        if first <= key_slot(str(number).encode()) <= last:
            return str(number)
    raise ValueError(f"no hash tag found for slots {first}-{last}")


class ShardWriter(threading.Thread):
    """Writes to one shard until stopped; `with` starts and stops it."""

    def __init__(
        self,
        addresses: Callable[[], Sequence[Address]],
        password: str,
        tag: str,
        *,
        wait_replicas: int = 0,
        pause_s: float = 0.001,
        prefix: str = "w",
    ) -> None:
        super().__init__(daemon=True, name=f"writer-{tag}")
        self._addresses = addresses
        self._password = password
        self._prefix = f"{prefix}:{{{tag}}}:"
        self._wait_replicas = wait_replicas
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._clients: dict[Address, redis.Redis] = {}
        self._turn = 0
        self.acknowledged: list[int] = []
        self.gaps: list[tuple[float, float]] = []  # (when it began, how long), above 20 ms
        self.longest_gap_s = 0.0
        self.refusals: dict[str, int] = {}

    def run(self) -> None:
        """Write one key after another; a number is only left when its write was acknowledged."""
        number, target, last_ack = 0, None, time.monotonic()
        while not self._stopping.is_set():
            target = target or self._next_address()
            target, is_written = self._write(target, number)
            if not is_written:
                time.sleep(RETRY_S)
                continue
            now = time.monotonic()
            if self.acknowledged:
                gap = now - last_ack
                self.longest_gap_s = max(self.longest_gap_s, gap)
                if gap > 0.02:
                    self.gaps.append((last_ack, gap))
            last_ack = now
            self.acknowledged.append(number)
            number += 1
            if self._pause_s:
                time.sleep(self._pause_s)
        for client in self._clients.values():
            client.close()

    def stop(self) -> None:
        """End the writing and wait for the last answer."""
        self._stopping.set()
        self.join(timeout=30)

    def __enter__(self) -> ShardWriter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def missing(self, read: Callable[[str], object]) -> list[str]:
        """List the acknowledged keys that `read` no longer finds with the value that was written."""
        keys = ((f"{self._prefix}{number}", str(number).encode()) for number in self.acknowledged)
        return [key for key, value in keys if read(key) != value]

    def keys(self) -> list[str]:
        """List the acknowledged keys."""
        return [f"{self._prefix}{number}" for number in self.acknowledged]

    def _next_address(self) -> Address | None:
        addresses = self._addresses()
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
            client = self._client(address)
            client.execute_command("SET", f"{self._prefix}{number}", str(number))
            if (
                self._wait_replicas
                and client.execute_command("WAIT", self._wait_replicas, 1000) < self._wait_replicas
            ):
                self._refused("WAIT: too few replicas")
                return address, False
            return address, True
        except redis.exceptions.MovedError as moved:
            return (moved.host, moved.port), False
        except (redis.exceptions.RedisError, OSError) as refused:
            self._refused(f"{type(refused).__name__}: {str(refused)[:60]}")
            return None, False

    def _refused(self, reason: str) -> None:
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
