"""The map of what is pending against a sorted dict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data import id_map
from redoubt.data.id_map import IdMap, Pending

IDS = st.integers(0, 60)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_map, "CHUNK_IDS_MAX", 4)


@given(
    st.lists(st.tuples(st.sampled_from(["put", "put", "remove"]), IDS), max_size=120),
    st.tuples(IDS, IDS, st.integers(0, 9)),
)
def test_the_map_agrees_with_a_dict(steps: list[tuple[str, int]], bounds: tuple[int, int, int]) -> None:
    found, model = IdMap(), dict[int, Pending]()
    for what, entry_id in steps:
        if what == "remove":
            assert found.remove(entry_id) is model.pop(entry_id, None)
        elif entry_id not in model:
            model[entry_id] = Pending(b"c", entry_id, 1)
            found.put(entry_id, model[entry_id])
    first, last, count = bounds
    expected = [(entry_id, model[entry_id]) for entry_id in sorted(model)]
    within = [pair for pair in expected if first <= pair[0] <= last]
    assert found.slice(0, 100, 0) == expected
    assert found.slice(first, last, count) == (within[:count] if count else within)
    assert found.total == len(model)
    assert all(found.get(entry_id) is model.get(entry_id) for entry_id in range(61))
    if model:
        assert (found.first(), found.last()) == (min(model), max(model))
