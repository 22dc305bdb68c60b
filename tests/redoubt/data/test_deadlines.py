"""Due times by name, against a plain dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.deadlines import STALE_MAX, Deadlines

NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])
STEPS = st.lists(st.tuples(NAMES, st.integers(0, 6)), max_size=80)


@given(STEPS, st.integers(0, 8))
def test_deadlines_behave_like_a_sorted_dict(steps: list[tuple[bytes, int]], now_ms: int) -> None:
    deadlines = Deadlines()
    model: dict[bytes, int] = {}
    for name, due_ms in steps:
        if due_ms:
            deadlines.set(name, due_ms)
            model[name] = due_ms
        else:
            assert deadlines.remove(name) == (model.pop(name, 0) != 0)
        twin = deadlines.copy()
        for each in (deadlines, twin):
            due = sorted((time, name) for name, time in model.items() if time < now_ms)
            assert each.next_ms() == min(model.values(), default=0)
            assert [(model[name], name) for name in each.due(now_ms, 100)] == due
            assert each.due(now_ms, 2) == [name for _, name in due[:2]]
            assert each.count_due(now_ms) == len(due)
            assert len(each) == len(model)


def test_a_time_that_is_put_off_for_ever_does_not_fill_memory() -> None:
    deadlines = Deadlines()
    for due_ms in range(1, 10_000):
        deadlines.set(b"name", due_ms)
    assert len(deadlines._heap) <= 2 + STALE_MAX
    assert deadlines.next_ms() == 9_999
