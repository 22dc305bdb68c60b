"""Restart back-off: the kubelet's table of delays."""

from devcluster.kubelet.backoff import FORGOTTEN_AFTER_S, Backoff


def test_first_restart_is_at_once_and_later_ones_double_up_to_five_minutes() -> None:
    backoff = Backoff()
    assert [backoff.failed(ran_s=1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_long_run_forgets_earlier_failures() -> None:
    backoff = Backoff()
    for _ in range(4):
        backoff.failed(ran_s=1)
    assert backoff.failed(ran_s=FORGOTTEN_AFTER_S + 1) == 0
    assert backoff.failed(ran_s=1) == 10


def test_a_run_of_ten_minutes_exactly_is_not_long_enough() -> None:
    backoff = Backoff()
    backoff.failed(ran_s=1)
    assert backoff.failed(ran_s=FORGOTTEN_AFTER_S) == 10


def test_a_pull_waits_already_after_its_first_failure() -> None:
    backoff = Backoff(at_once_first=False)
    assert [backoff.failed(ran_s=0) for _ in range(3)] == [10, 20, 40]
