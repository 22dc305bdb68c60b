"""One event, one line, whatever is in it."""

from __future__ import annotations

import logging
import sys

from redoubt_operator.logs import LineFormatter


def line(name: str, message: str, **extra: object) -> str:
    record = logging.makeLogRecord(
        {"name": name, "levelname": "INFO", "msg": message, "created": 0.0125, **extra}
    )
    return LineFormatter().format(record)


def test_line_has_time_level_text_and_pairs() -> None:
    text = line("redoubt_operator.execute", "CreatePod", cluster="ns/cache", shard=0, because="it is missing")
    assert text == '1970-01-01T00:00:00.012Z info CreatePod cluster=ns/cache shard=0 because="it is missing"'


def test_pair_without_value_is_left_out() -> None:
    assert line("redoubt_operator.execute", "Meet", shard=None).endswith("info Meet")


def test_line_ends_and_quotes_are_escaped() -> None:
    text = line("redoubt_operator.kube", "two\nlines", error='he said "no"\nand left')
    assert "\n" not in text
    assert text.endswith('two\\nlines error="he said \\"no\\"\\nand left"')


def test_traceback_is_part_of_the_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        text = line("redoubt_operator.workqueue", "failed", exc_info=sys.exc_info())
    assert "\n" not in text
    assert "ValueError: broken" in text


def test_extras_of_libraries_are_not_printed() -> None:
    assert line("kopf.objects", "Something", k8s_ref={"name": "x"}).endswith("info kopf.objects: Something")
