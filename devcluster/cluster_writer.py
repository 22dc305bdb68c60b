"""An application beside the cluster: redis-py's own cluster client, for which every exception counts.

It writes keys of all slots one after another, now and then a pipeline of several, and reads back what it has
written, through a `RedisCluster` with default settings: what this client forgives by itself (MOVED, ASK, a
connection that ends) an application never sees, and what it raises is an error of ours. The errors are
kept with their texts, stale or missing answers likewise. Used by the end-to-end tests and the benchmarks.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import redis
from redis.cluster import RedisCluster

from devcluster.writer import STOP_LIMIT_S, Journal, ReadMany

# One turn in so many is a pipeline instead of one SET, and one in so many reads an older key.
PIPELINE_EVERY: Final = 20
PIPELINE_KEYS: Final = 8
READ_EVERY: Final = 3
# Errors kept with their text; a broken cluster gives thousands of the same.
ERRORS_MAX: Final = 50
# After an error, so that a cluster that is down is not asked thousands of times a second.
ERROR_PAUSE_S: Final = 0.01


class ClusterWriter(threading.Thread):
    """Writes to all slots until stopped; `with` starts and stops it."""

    def __init__(self, client: RedisCluster, *, prefix: str = "app", pause_s: float = 0.001) -> None:
        """client: owned by the writer, closed when it stops."""
        super().__init__(daemon=True, name="cluster-writer")
        self._client = client
        self._prefix = prefix
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self.journal: Final = Journal()
        self.errors: list[str] = []

    @property
    def acknowledged(self) -> list[int]:
        """The numbers of the writes that were acknowledged."""
        return self.journal.acknowledged

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two acknowledgements, over all slots."""
        return self.journal.longest_gap_s

    def run(self) -> None:
        """Write, read and note what comes of it; a number is never written twice."""
        number = 0
        for turn in range(1, 1 << 62):
            if self._stopping.is_set():
                break
            count = PIPELINE_KEYS if turn % PIPELINE_EVERY == 0 else 1
            numbers = range(number, number + count)
            number += count
            try:
                self._write(numbers)
                if turn % READ_EVERY == 0 and self.acknowledged:
                    self._read(self.acknowledged[turn * 7919 % len(self.acknowledged)])
            except (redis.exceptions.RedisError, OSError) as error:
                self._note(f"{type(error).__name__}: {error}")
                time.sleep(ERROR_PAUSE_S)
            if self._pause_s:
                time.sleep(self._pause_s)
        self._client.close()

    def stop(self) -> None:
        """End the writing and wait for the last answer."""
        self._stopping.set()
        self.join(timeout=STOP_LIMIT_S)

    def __enter__(self) -> ClusterWriter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def missing(self, read: ReadMany) -> list[str]:
        """List the acknowledged keys that `read` no longer finds with the value that was written."""
        keys = [self._key(number) for number in self.acknowledged]
        pairs = zip(self.acknowledged, keys, read(keys), strict=True)
        return [key for number, key, value in pairs if value != b"%d" % number]

    def _key(self, number: int) -> str:
        return f"{self._prefix}:{number}"

    def _write(self, numbers: range) -> None:
        if len(numbers) == 1:
            self._client.set(self._key(numbers[0]), numbers[0])
        else:
            pipeline = self._client.pipeline()
            for number in numbers:
                pipeline.set(self._key(number), number)
            pipeline.execute()
        for number in numbers:
            self.journal.acknowledge(number)

    def _read(self, number: int) -> None:
        value = self._client.get(self._key(number))
        if value != b"%d" % number:
            self._note(f"{self._key(number)} was acknowledged and reads {value!r}")

    def _note(self, error: str) -> None:
        if len(self.errors) < ERRORS_MAX:
            self.errors.append(error)
