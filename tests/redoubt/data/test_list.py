"""Lists in chunks of every size against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import listpack
from redoubt.data.limits import Limits
from redoubt.data.list import TextList
from redoubt.data.memory import size_of_bytes

TEXTS = st.one_of(st.integers(0, 5).map(lambda number: b"%d" % number), st.binary(max_size=12))
INDEXES = st.integers(-30, 30)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), TEXTS, st.booleans()),
        st.tuples(st.just("push"), TEXTS, st.booleans()),
        st.tuples(st.just("pop"), st.just(b""), st.booleans()),
        st.tuples(st.just("pop many"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("put"), TEXTS, st.integers(0, 50)),
        st.tuples(st.just("insert"), st.tuples(TEXTS, TEXTS), st.booleans()),
        st.tuples(st.just("remove"), TEXTS, st.integers(-3, 3)),
        st.tuples(st.just("trim"), st.integers(0, 5), st.integers(0, 5)),
    ),
    max_size=80,
)


def limits_of(elements: int, size: int) -> Limits:
    limits = Limits()
    limits.list_elements, limits.list_bytes = elements, size
    return limits


def step(
    target: TextList, model: list[bytes], what: str, first: object, second: object, limits: Limits
) -> None:
    """Do the same to both, and compare what comes back."""
    if what == "push" and isinstance(first, bytes):
        target.push(first, bool(second), limits)
        model.insert(0 if second else len(model), first)
    elif what == "pop" and model:
        assert target.pop(bool(second)) == model.pop(0 if second else -1)
    elif what == "pop many" and isinstance(first, int):
        count = min(first, len(model))
        taken = [model.pop(0 if second else -1) for _ in range(count)]
        assert target.pop_many(count, bool(second)) == taken
    elif what == "put" and model and isinstance(first, bytes) and isinstance(second, int):
        target.put(second % len(model), first, limits)
        model[second % len(model)] = first
    elif what == "insert" and isinstance(first, tuple):
        pivot, text = first
        assert target.insert_beside(pivot, text, bool(second), limits) == (pivot in model)
        if pivot in model:
            model.insert(model.index(pivot) + (0 if second else 1), text)
    elif what == "remove" and isinstance(first, bytes) and isinstance(second, int):
        assert target.remove_equal(first, second) == remove_from(model, first, second)
    elif what == "trim" and isinstance(first, int) and isinstance(second, int):
        past = max(first, len(model) - second)
        if first < past <= len(model):
            target.trim(first, past)
            model[:] = model[first:past]


def remove_from(model: list[bytes], text: bytes, count: int) -> int:
    places = [place for place, one in enumerate(model) if one == text]
    chosen = places if count == 0 else places[:count] if count > 0 else places[count:]
    for place in reversed(chosen):
        del model[place]
    return len(chosen)


@given(STEPS, st.sampled_from([(0, 20), (0, 60), (1, 0), (3, 0), (0, 8192)]))
def test_a_list_is_a_list_in_chunks_of_any_size(
    steps: list[tuple[str, object, object]], size: tuple[int, int]
) -> None:
    limits, target, model = limits_of(*size), TextList(), list[bytes]()
    for what, first, second in steps:
        step(target, model, what, first, second, limits)
        assert target.total == len(model)
    assert target.slice(0, target.total) == model
    assert [target.at(index) for index in range(len(model))] == model
    assert [target.at(-1 - index) for index in range(len(model))] == model[::-1]
    assert target.at(len(model)) is None and target.at(-len(model) - 1) is None
    assert all(target.counts)
    assert target.counts == [listpack.length(chunk) for chunk in target.chunks]
    assert target.bytes_of_chunks == sum(size_of_bytes(chunk) for chunk in target.chunks)
    for first in range(len(model) + 1):
        assert target.slice(first, len(model)) == model[first:]
        assert target.slice(0, first) == model[:first]


@given(
    st.lists(TEXTS, max_size=20),
    TEXTS,
    st.sampled_from([1, 2, 3, -1, -2]),
    st.integers(0, 4),
    st.integers(0, 9),
)
def test_positions_are_those_of_the_plain_list(
    texts: list[bytes], text: bytes, rank: int, count: int, looked_max: int
) -> None:
    target, limits = TextList(), limits_of(3, 0)
    for one in texts:
        target.push(one, False, limits)
    order = list(enumerate(texts)) if rank > 0 else list(enumerate(texts))[::-1]
    seen = order[:looked_max] if looked_max else order
    matches = [index for index, one in seen if one == text][abs(rank) - 1 :]
    assert target.positions(text, rank, count, looked_max) == (matches[:count] if count else matches)


def test_a_copy_shares_nothing_that_changes() -> None:
    target, limits = TextList(), limits_of(2, 0)
    for number in range(7):
        target.push(b"%d" % number, False, limits)
    twin = target.copy()
    target.pop(True)
    target.put(3, b"x", limits)
    assert isinstance(twin, TextList)
    assert twin.slice(0, twin.total) == [b"%d" % number for number in range(7)]


def test_many_elements_lie_in_few_bytes() -> None:
    target, limits = TextList(), Limits()
    for number in range(20_000):
        target.push(b"element:%d" % number, number % 2 == 0, limits)
    assert target.size_bytes() < 20_000 * 17
    assert len(target.chunks) < 50
