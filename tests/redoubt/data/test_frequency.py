"""The access counter of the LFU policies: it rises ever more slowly, and forgets."""

from __future__ import annotations

from random import Random

from redoubt.data.frequency import decayed_counter, frequency_after_access, initial_frequency

NOW_MS = 1_700_000_000_000


def counter_after(accesses: int) -> int:
    random = Random(1)
    packed = initial_frequency(NOW_MS)
    for _ in range(accesses):
        packed = frequency_after_access(packed, NOW_MS, random, 10, 1)
    return decayed_counter(packed, NOW_MS, 1)


def test_the_counter_rises_logarithmically() -> None:
    # The documentation of lfu-log-factor 10: about 10 after 100 accesses, 18 after 1,000, 142 after 100,000.
    assert 8 <= counter_after(100) <= 14
    assert 15 <= counter_after(1_000) <= 24
    assert 120 <= counter_after(100_000) <= 175


def test_the_counter_falls_by_one_a_minute_and_not_below_zero() -> None:
    packed = initial_frequency(NOW_MS)
    assert decayed_counter(packed, NOW_MS + 3 * 60_000, 1) == 2
    assert decayed_counter(packed, NOW_MS + 3 * 60_000, 3) == 4
    assert decayed_counter(packed, NOW_MS + 100 * 60_000, 1) == 0
    assert decayed_counter(packed, NOW_MS + 100 * 60_000, 0) == 5


def test_a_key_never_counted_begins_like_a_new_one() -> None:
    assert decayed_counter(frequency_after_access(-1, NOW_MS, Random(1), 10, 1), NOW_MS, 1) == 6
