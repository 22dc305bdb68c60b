"""CONFIG REWRITE: the text that comes out, the round trip through a start, and what a real Redis says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt import config_file
from redoubt.config import DIRECTIVES, Config
from redoubt.config_rewrite import SIGNATURE, amount, quoted, rewritten
from redoubt.resp.inline import split_words
from redoubt.resp.replies import OK, ErrorReply
from tests.redoubt.harness import Harness, redis_process, server_process

NOBODY = ("", 0)
# What a real Redis appends and we do not have, or need not write.
REDIS_ONLY = ("user ", "latency-tracking", "pidfile", "daemonize")
FILE = r"""
# A comment


port 7000
   maxmemory 104857600
# save points
save 900 1
save 300 10
slave-read-only no
requirepass "a \"b\" \x01"
client-output-buffer-limit replica 128mb 64mb 60
bind 127.0.0.1 -::1
nonsense here
hz 'unbalanced

# the end
"""


UNDERSTOOD = FILE.replace("nonsense here\n", "").replace("hz 'unbalanced\n", "").replace("port 7000\n", "")


def loaded(text: str, *words: str) -> Config:
    """Start with this file and these arguments."""
    config = Config(lambda path: text)
    config_file.load(config, ["redoubt.conf", *words])
    return config


def values(config: Config) -> dict[str, str]:
    return {name: config.show(name) for name in DIRECTIVES}


def test_what_has_not_changed_stays_as_it_was_written() -> None:
    text = "# first\n\nmaxmemory 1gb\n\n# second\nsave 900 1\nbind 10.0.0.1 -::1\n"
    assert rewritten(text, loaded(text), NOBODY) == text


def test_comments_order_and_unknown_lines_are_kept_and_values_take_their_places() -> None:
    config = loaded("port 7000\nsave 900 1\nrequirepass x\n")
    config.assign([("maxmemory", ["2gb"]), ("replica-read-only", ["no"]), ("save", ["60", "5"])])
    config.assign([("requirepass", ["new\n"]), ("lfu-log-factor", ["11"]), ("bind", ["*"])], is_start=True)
    assert rewritten(FILE, config, NOBODY).splitlines() == [
        "",
        "# A comment",
        "",
        "port 7000",
        "maxmemory 2gb",
        "# save points",
        "save 60 5",
        "",
        "replica-read-only no",
        r'requirepass "new\n"',
        "client-output-buffer-limit normal 0 0 0",
        "bind *",
        "# nonsense here",
        "# hz 'unbalanced",
        "",
        "# the end",
        "",
        SIGNATURE,
        "lfu-log-factor 11",
    ]


def test_the_signature_is_written_once() -> None:
    config = loaded("maxmemory 1mb\nhz 20\n")
    once = rewritten("", config, NOBODY)
    assert once.splitlines()[0] == SIGNATURE
    assert rewritten(once, config, NOBODY) == once


def test_a_secret_of_a_file_is_never_written_down() -> None:
    config = Config(lambda path: "hidden")
    config.assign([("requirepass-file", ["/run/secret"])], is_start=True)
    assert config.requirepass == "hidden"
    text = rewritten("requirepass old\n", config, NOBODY)
    assert "hidden" not in text and "old" not in text
    assert 'requirepass-file "/run/secret"' in text


def test_the_master_is_the_one_of_now() -> None:
    text = 'save ""\nslaveof 10.0.0.1 6379\n'
    assert rewritten(text, loaded(text), ("10.0.0.2", 7000)) == 'save ""\nreplicaof 10.0.0.2 7000\n'
    assert rewritten(text, loaded(text), NOBODY) == 'save ""\n\n'


TEXT_VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)


@given(TEXT_VALUES)
def test_any_text_survives_quoting(text: str) -> None:
    assert split_words(quoted(text).encode()) == [text.encode()]


@given(st.integers(0, 1 << 40))
def test_any_amount_survives_its_unit(size: int) -> None:
    config = Config()
    config.assign([("maxmemory", [amount(size)])])
    assert config.maxmemory == size


@given(
    secret=TEXT_VALUES,
    memory=st.integers(0, 1 << 40),
    points=st.lists(st.tuples(st.integers(1, 9999), st.integers(0, 9999)), max_size=4),
    limits=st.tuples(
        st.sampled_from(["normal", "replica", "pubsub"]), st.integers(0, 1 << 31), st.integers(0, 99)
    ),
    addresses=st.lists(st.sampled_from(["127.0.0.1", "-::1", "*"]), max_size=3),
    before=st.sampled_from(["", UNDERSTOOD]),
)
def test_a_start_from_the_rewritten_file_has_the_same_values(
    secret: str, memory: int, points: list[tuple[int, int]], limits: tuple[str, int, int],
    addresses: list[str], before: str,
) -> None:  # fmt: skip
    config = loaded(before or "port 1\n")
    kind, hard, seconds = limits
    config.assign(
        [
            ("requirepass", [secret]),
            ("maxmemory", [str(memory)]),
            ("save", [str(number) for point in points for number in point] or [""]),
            ("client-output-buffer-limit", [kind, str(hard), "0", str(seconds)]),
            ("bind", addresses or [""]),
            ("cluster-enabled", ["yes"]),
        ],
        is_start=True,
    )
    assert values(loaded(rewritten(before, config, NOBODY))) == values(config)


def test_without_a_file_there_is_nothing_to_rewrite() -> None:
    assert Harness().connect().ask("CONFIG", "REWRITE") == ErrorReply(
        b"ERR The server is running without a config file"
    )


def test_a_disk_that_refuses_is_told_of() -> None:
    harness = Harness()
    client = harness.connect()
    config = harness.node.state.config
    config.file_path = "/etc/redoubt.conf"
    config.read_text = lambda path: "# mine\n"
    harness.disk_error = "No space left on device"
    assert client.ask("CONFIG", "REWRITE") == ErrorReply(
        b"ERR Rewriting config file: No space left on device"
    )
    harness.disk_error = ""
    client.ask("CONFIG", "SET", "maxmemory", "1mb")
    assert client.ask("CONFIG", "REWRITE") == OK
    text = harness.files["/etc/redoubt.conf"].decode()
    assert text.startswith("# mine\n\n" + SIGNATURE) and "maxmemory 1mb\n" in text


@pytest.mark.process
def test_a_real_redis_rewrites_the_same_file_in_the_same_way(tmp_path: Path) -> None:
    texts: list[list[str]] = []
    for kind in ("real", "ours"):
        path = tmp_path / f"{kind}.conf"
        path.write_text(
            FILE.replace("nonsense here\n", "").replace("hz 'unbalanced\n", "").replace("port 7000\n", "")
        )
        make = redis_process if kind == "real" else server_process
        with make("--bind", "127.0.0.1", config=str(path)) as server:
            at = server.connect()
            at.ask("AUTH", 'a "b" \x01')
            for words in (
                ("maxmemory", "3gb", "maxmemory-policy", "allkeys-lru"), ("requirepass", 'x" \n\té'),
                ("save", "60 5 7 8"), ("client-output-buffer-limit", "pubsub 1mb 2kb 3 normal 1gb 0 0"),
                ("repl-backlog-size", "1048577"), ("lfu-log-factor", "11"), ("masterauth", "to\\go"),
                ("replica-priority", "50"), ("masteruser", "me"),
            ):  # fmt: skip
                assert at.ask("CONFIG", "SET", *words) == OK, words
            assert at.ask("CONFIG", "REWRITE") == OK
            first = path.read_text()
            assert at.ask("CONFIG", "REWRITE") == OK
            assert path.read_text().rstrip() == first.rstrip()
            at.ask("CONFIG", "SET", "lfu-log-factor", "10", "save", "")
            assert at.ask("CONFIG", "REWRITE") == OK
            places = (str(server.port), server.directory)
        for text in (first, path.read_text()):
            kept, _, appended = text.replace(places[0], "PORT").replace(places[1], "DIR").partition(SIGNATURE)
            # What is appended has no order that matters; what stood in the file is equal line by line.
            known = [line for line in appended.splitlines() if line and not line.startswith(REDIS_ONLY)]
            texts.append([*kept.splitlines(), *sorted(known)])
    assert texts[0] == texts[2]
    assert texts[1] == texts[3]
