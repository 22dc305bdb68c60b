"""Probe thresholds."""

import pytest

from devcluster.kubelet.probe import ProbeSpec, ProbeState


def verdicts(kind: str, results: str, **spec: int) -> list[bool | None]:
    """Return the verdict after each result of a text like "+-+"."""
    state = ProbeState(ProbeSpec.of(kind, spec))
    found = []
    for result in results:
        before = state.verdict
        assert state.record(result == "+") == (state.verdict is not before)
        found.append(state.verdict)
    return found


def test_defaults_are_those_of_the_api() -> None:
    assert ProbeSpec.of("readiness", {}) == ProbeSpec("readiness", {}, 0, 10, 1, 1, 3)


def test_readiness_begins_as_failed_and_one_success_is_enough() -> None:
    assert verdicts("readiness", "-+") == [False, True]


def test_three_failures_in_a_row_end_readiness() -> None:
    assert verdicts("readiness", "+--+---") == [True, True, True, True, True, True, False]


def test_liveness_begins_as_succeeded() -> None:
    assert verdicts("liveness", "--", failureThreshold=2) == [True, False]


def test_a_startup_probe_is_undecided_until_a_threshold_is_reached() -> None:
    assert verdicts("startup", "--", failureThreshold=3) == [None, None]
    assert verdicts("startup", "---", failureThreshold=3) == [None, None, False]
    assert verdicts("startup", "--+", failureThreshold=3) == [None, None, True]


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_success_threshold_counts_successes_in_a_row(threshold: int) -> None:
    results = "+" * (threshold - 1) + "-" + "+" * threshold
    expected = [False] * (2 * threshold - 1) + [True]
    found = verdicts("readiness", results, successThreshold=threshold, failureThreshold=1)
    assert found == ([*expected] if threshold > 1 else [False, True])
