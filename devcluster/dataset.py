"""Many keys at once: written, read back and compared, at the speed of pipelines.

redis-py's cluster client sends a batch node by node and one after another; here each node gets its whole
share in one pipeline, which is what makes 200,000 keys a matter of seconds. A command that was redirected or
refused is tried once more by the cluster client itself, whose error then is the caller's. Used by the
end-to-end tests and the benchmarks to put data under a moving cluster and to count what is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from redis.cluster import RedisCluster

# Commands in one pipeline: enough to hide the round trip, few enough to be no burst of megabytes.
BATCH: Final = 2000


class Dataset:
    """Keys `<prefix>:0` to `<prefix>:<count - 1>`, each with a value of its own of `size` bytes."""

    def __init__(self, count: int, size: int = 100, prefix: str = "canary") -> None:
        self.count: Final = count
        self._size = size
        self._prefix = prefix

    def write(self, client: RedisCluster) -> None:
        """Write all keys."""
        for numbers in self._batches():
            many(client, [("SET", self._key(number), self._value(number)) for number in numbers])

    def lost(self, client: RedisCluster) -> int:
        """Read all keys back and count those that are missing or have another value."""
        lost = 0
        for numbers in self._batches():
            values = read_many(client, [self._key(number) for number in numbers])
            lost += sum(value != self._value(number) for number, value in zip(numbers, values, strict=True))
        return lost

    def _batches(self) -> Iterator[range]:
        for first in range(0, self.count, BATCH):
            yield range(first, min(first + BATCH, self.count))

    def _key(self, number: int) -> str:
        return f"{self._prefix}:{number}"

    def _value(self, number: int) -> bytes:
        return f"{number}.".encode().ljust(self._size, b"x")


def read_many(client: RedisCluster, keys: Sequence[str]) -> list[object]:
    """Read keys of any slots; None for those that do not exist."""
    found: list[object] = []
    for first in range(0, len(keys), BATCH):
        found += many(client, [("GET", key) for key in keys[first : first + BATCH]])
    return found


def reader(client: RedisCluster) -> Callable[[Sequence[str]], list[object]]:
    """Return `read_many` for this client."""
    return lambda keys: read_many(client, keys)


def many(client: RedisCluster, commands: Sequence[tuple[Any, ...]]) -> list[object]:
    """Run commands whose second word is their key; return the answers in their order."""
    by_node: dict[str, list[int]] = {}
    nodes = {}
    for number, words in enumerate(commands):
        node = client.nodes_manager.get_node_from_slot(client.keyslot(words[1]))
        nodes[node.name] = node
        by_node.setdefault(node.name, []).append(number)
    answers: list[object] = [None] * len(commands)
    for name, numbers in by_node.items():
        pipeline = client.get_redis_connection(nodes[name]).pipeline(transaction=False)
        for number in numbers:
            pipeline.execute_command(*commands[number])
        for number, answer in zip(numbers, pipeline.execute(raise_on_error=False), strict=True):
            is_refused = isinstance(answer, Exception)
            answers[number] = client.execute_command(*commands[number]) if is_refused else answer
    return answers
