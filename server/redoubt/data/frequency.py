"""The access counter of a key under an LFU policy: 8 bits that count to a million and forget with time.

The counter is incremented with a probability that falls as it rises, so that 255 stands for about a million
accesses, and it falls by one for each `decay_minutes` without access. A new key starts at 5, or it would be
evicted before its second access. Counter and the minute of its last change are packed into one integer.

Called by the keyspace at each access and by eviction.
Source: Redis documentation, "Key eviction", the new LFU mode; `lfu-log-factor`, `lfu-decay-time`.
"""

from __future__ import annotations

from random import Random
from typing import Final

COUNTER_INITIAL: Final = 5
COUNTER_MAX: Final = 255
_MINUTES_MASK: Final = 0xFFFF


def initial_frequency(now_ms: int) -> int:
    """Return the packed counter of a key that has just been created."""
    return packed_counter(now_ms, COUNTER_INITIAL)


def packed_counter(now_ms: int, counter: int) -> int:
    """Return a counter packed with the present minute."""
    return _minutes(now_ms) << 8 | counter


def frequency_after_access(
    packed: int, now_ms: int, random: Random, log_factor: int, decay_minutes: int
) -> int:
    """Return the packed counter after one more access; `packed` below 0 stands for a key never counted."""
    if packed < 0:
        packed = initial_frequency(now_ms)
    counter = decayed_counter(packed, now_ms, decay_minutes)
    if counter < COUNTER_MAX:
        above = counter - COUNTER_INITIAL if counter > COUNTER_INITIAL else 0
        if random.random() * (above * log_factor + 1) < 1.0:
            counter += 1
    return _minutes(now_ms) << 8 | counter


def decayed_counter(packed: int, now_ms: int, decay_minutes: int) -> int:
    """Return the counter as it stands now."""
    counter = packed & 0xFF
    if decay_minutes <= 0:
        return counter
    idle_minutes = (_minutes(now_ms) - (packed >> 8)) & _MINUTES_MASK
    return max(0, counter - idle_minutes // decay_minutes)


def _minutes(now_ms: int) -> int:
    return (now_ms // 60_000) & _MINUTES_MASK
