"""The application that the worker of `test_celery` runs; REDOUBT_URL names the broker and result backend.

Only the Python of the clients' own environment has Celery; the tests start this file there, none imports it.
"""

import os
import sys

from celery import Celery, chord, group
from celery.result import allow_join_result

URL = os.environ["REDOUBT_URL"]
app = Celery("celery_tasks", broker=f"{URL}/0", backend=f"{URL}/1")
app.conf.update(
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_default_queue="redoubt",
)


@app.task(name="add")
def add(first: int, second: int) -> int:
    return first + second


@app.task(name="total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="stumble", bind=True, max_retries=3, default_retry_delay=0)
def stumble(self) -> int:  # type: ignore[no-untyped-def]
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task(name="fail")
def fail() -> None:
    raise ValueError("as it should")


def main() -> None:
    """Send tasks of every kind and print what came of them."""
    with allow_join_result():
        assert add.delay(2, 3).get(timeout=30) == 5
        numbers = group(add.s(number, number) for number in range(30))().get(timeout=60)
        assert numbers == [2 * number for number in range(30)]
        assert (add.s(1, 2) | add.s(10)).delay().get(timeout=30) == 13
        assert chord((add.s(number, 1) for number in range(10)), total.s())().get(timeout=60) == 55
        assert add.apply_async((4, 4), countdown=1).get(timeout=30) == 8
        assert stumble.delay().get(timeout=60) == 2
        failed = fail.delay()
        assert isinstance(failed.get(timeout=30, propagate=False), ValueError)
        assert failed.state == "FAILURE"
        revoked = add.apply_async((1, 1), countdown=60)
        revoked.revoke()
        assert app.control.ping(timeout=5) != []
    print("all tasks done")


if __name__ == "__main__":
    sys.exit(main())
