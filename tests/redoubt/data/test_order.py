"""The order of a large sorted set against a sorted list of pairs."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import order as order_module
from redoubt.data.order import Order

# So few scores and members that ties and repetitions are common.
SCORES = st.sampled_from([float("-inf"), -1.5, 0.0, 1.0, 2.0, float("inf")])
MEMBERS = st.integers(0, 400).map(lambda number: b"%d" % number)


def filled(entries: list[tuple[float, bytes]]) -> Order:
    made = Order()
    for score, member in entries:
        made.add(score, member)
    return made


def swapped(entries: list[tuple[float, bytes]]) -> list[tuple[bytes, float]]:
    return [(member, score) for score, member in entries]


@given(st.dictionaries(MEMBERS, SCORES, max_size=60), st.randoms(use_true_random=False))
def test_ranks_and_ranges_are_those_of_a_sorted_list(scores: dict[bytes, float], random: Random) -> None:
    entries = [(score, member) for member, score in scores.items()]
    random.shuffle(entries)
    made = filled(entries)
    entries.sort()
    assert made.count == len(entries)
    assert made.pairs(0, len(entries)) == swapped(entries)
    for rank, (score, member) in enumerate(entries):
        assert made.rank_of(score, member) == rank
        assert made.at(rank) == (member, score)
    for score in (-2.0, -1.5, 0.0, 3.0, float("inf")):
        assert made.rank_of_score(score, False) == sum(other < score for other, _ in entries)
        assert made.rank_of_score(score, True) == sum(other <= score for other, _ in entries)


@pytest.mark.parametrize("seed", range(4))
def test_rows_divide_and_come_together_without_losing_an_entry(seed: int) -> None:
    random = Random(seed)
    made = Order()
    model: list[tuple[float, bytes]] = []
    for step in range(6 * order_module.ROW_MAX):
        entry = (float(random.randrange(50)), b"%d" % step)
        made.add(*entry)
        model.append(entry)
    model.sort()
    assert made.pairs(0, made.count) == swapped(model)
    while model:
        if random.random() < 0.9:
            made.remove(*model.pop(random.randrange(len(model))))
        else:
            first = random.randrange(len(model))
            past = min(len(model), first + random.randrange(1, 2 * order_module.ROW_MAX))
            assert made.cut(first, past) == swapped(model[first:past])
            del model[first:past]
        assert all(made.scores) and len(made.scores) == len(made.members)
        if len(model) % 50 == 0:
            assert made.pairs(0, made.count) == swapped(model)
    assert made.count == 0 and made.scores == []


def test_entries_in_order_are_taken_as_they_are() -> None:
    entries = [(float(number // 3), b"%06d" % number) for number in range(3000)]
    made = Order()
    made.build(entries)
    assert made.pairs(0, 3000) == swapped(entries)
    assert made.pairs(1500, 1500) == []
    assert [made.rank_of(*entry) for entry in entries[::500]] == list(range(0, 3000, 500))


def test_an_order_that_grows_at_its_end_keeps_full_rows() -> None:
    made = filled([(float(number), b"%d" % number) for number in range(20 * order_module.ROW_MAX)])
    fill = made.count / len(made.scores) / order_module.ROW_MAX
    assert fill > 0.9
