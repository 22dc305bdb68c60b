"""The configuration: the table, the file, the arguments, changes that are made together or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt import config_file, reference
from redoubt.config import DIRECTIVES, Config, ConfigError
from redoubt.config_file import FatalConfigError
from redoubt.config_kinds import memory_size
from redoubt.version import REDOUBT_VERSION

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "server" / "redoubt"


def loaded(*arguments: str, **files: str) -> Config:
    """A configuration read from these arguments; `files` by name without directory."""

    def read_text(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[path]

    config = Config(read_text)
    config_file.load(config, list(arguments))
    return config


def fatal(*arguments: str, **files: str) -> str:
    with pytest.raises(FatalConfigError) as error:
        loaded(*arguments, **files)
    return error.value.text.splitlines()[-1]


def test_every_directive_has_its_attribute_and_its_default_fits_its_kind() -> None:
    defaults = Config()
    attributes = set(Config.__annotations__)
    assert attributes == {row.attribute for row in DIRECTIVES.values()}
    for name, row in DIRECTIVES.items():
        shown = defaults.show(name)
        if shown or name not in ("replicaof", "slaveof"):
            again = Config()
            again.assign([(name, row.kind.split(shown))], is_start=True)
            assert again.show(name) == shown


def test_a_directive_is_used_or_says_that_it_has_no_effect() -> None:
    tables = {"config.py", "config_kinds.py"}
    code = "".join(
        path.read_text()
        for path in SOURCES.rglob("*.py")
        if path.name not in tables and path.parent.name != "directives"
    )
    only = {"daemonize", "appendonly", "requirepass-file", "masterauth-file"}  # one value; read in config
    idle = {row.name for row in DIRECTIVES.values() if not re.search(rf"\b{row.attribute}\b", code)} - only
    said = {row.name for row in DIRECTIVES.values() if row.doc.startswith("No effect")} - {"hz"}
    assert idle == said


@pytest.mark.parametrize("page", reference.PAGES)
def test_the_reference_pages_are_current(page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == reference.PAGES[page](), (
        "run: PYTHONPATH=server python -m redoubt.reference docs"
    )


def test_the_version_is_that_of_the_distribution() -> None:
    assert f'version = "{REDOUBT_VERSION}"' in (ROOT / "pyproject.toml").read_text()


def test_the_command_line_wins_over_the_file_and_its_includes() -> None:
    config = loaded(
        "conf", "--port", "7", "--bind", "a", "-b",
        conf='port 1\n# comment\n\ninclude more\nmaxclients 5\n',
        more='maxmemory 1gb\nlogfile "a b\\x41"\nDIR /tmp\n',
    )  # fmt: skip
    assert (config.port, config.maxclients, config.maxmemory) == (7, 5, 1 << 30)
    assert (config.logfile, config.dir, config.bind) == ("a bA", "/tmp", ["a", "-b"])
    assert config.file_path == "conf"


def test_save_lines_replace_the_defaults_and_then_add_up() -> None:
    assert loaded(conf="").save == [(3600, 1), (300, 100), (60, 10000)]
    assert loaded("conf", conf="save 1 2\nsave 3 4 5 6").save == [(1, 2), (3, 4), (5, 6)]
    assert loaded("--save", "1 2 3 4").save == [(1, 2), (3, 4)]
    assert loaded("conf", "--save", "", conf="save 1 2").save == []


def test_output_limits_keep_the_classes_that_are_not_named() -> None:
    config = loaded("--client-output-buffer-limit", "slave", "1mb", "2k", "3")
    assert (
        config.show("client-output-buffer-limit")
        == "normal 0 0 0 slave 1048576 2000 3 pubsub 33554432 8388608 60"
    )


def test_what_cannot_be_read_ends_the_start_with_the_place_and_the_reason() -> None:
    with pytest.raises(FatalConfigError) as error:
        loaded("conf", conf="port 1\nmaxclients x\n")
    assert error.value.text == (
        f"\n*** FATAL CONFIG FILE ERROR (Redoubt {REDOUBT_VERSION}) ***\n"
        "Reading the configuration file, at line 2\n"
        ">>> 'maxclients x'\n"
        "argument couldn't be parsed into an integer"
    )
    assert fatal("nosuch") == "Fatal error, can't open config file 'nosuch': No such file or directory"
    assert fatal("conf", conf='bind "x') == "Unbalanced quotes in configuration line"
    assert fatal("conf", conf="nosuch 1") == "Bad directive or wrong number of arguments"
    assert fatal("conf", conf="include conf") == "Fatal error, config files include one another: 'conf'"
    assert fatal("--port", "70000") == "argument must be between 0 and 65535 inclusive"
    assert fatal("--cluster-enabled", "yes", "--replicaof", "h", "1") == (
        "replicaof directive not allowed in cluster mode"
    )
    assert fatal("--await-role", "yes") == "await-role needs cluster-enabled yes"


def test_several_directives_change_together_or_not_at_all() -> None:
    config = Config()
    with pytest.raises(ConfigError) as error:
        config.assign([("maxmemory", ["1mb"]), ("maxclients", ["0"])])
    assert (error.value.name, config.maxmemory) == ("maxclients", 0)
    with pytest.raises(ConfigError, match="can't set immutable config"):
        config.assign([("maxmemory", ["1mb"]), ("databases", ["3"])])
    assert config.maxmemory == 0


def test_a_part_that_objects_puts_everything_back_and_hears_of_it() -> None:
    config = Config()
    seen: list[int] = []

    def follow() -> str:
        seen.append(config.maxmemory)
        return "too small" if config.maxmemory == 1 else ""

    config.on_change("maxmemory", follow)
    with pytest.raises(ConfigError, match="too small"):
        config.assign([("maxclients", ["7"]), ("maxmemory", ["1"])])
    assert (config.maxmemory, config.maxclients, seen) == (0, 10000, [1, 0])
    config.assign([("maxmemory", ["2"])])
    assert (config.maxmemory, seen[-1]) == (2, 2)


def test_secrets_come_from_files_and_are_read_again() -> None:
    secrets = {"pw": "one\n"}
    config = Config(lambda path: secrets[path])
    config_file.load(config, ["--requirepass-file", "pw", "--masterauth-file", "pw"])
    assert (config.requirepass, config.masterauth) == ("one", "one")
    secrets["pw"] = "two\r\n"
    changes: list[str] = []
    config.on_change("requirepass", lambda: changes.append(config.requirepass) or "")
    config.reload_secrets()
    assert (config.requirepass, config.masterauth, changes) == ("two", "two", ["two"])


def test_a_secret_that_cannot_be_read_keeps_the_old_one() -> None:
    config = loaded("--requirepass-file", "pw", pw="one")
    with pytest.raises(ConfigError, match="cannot read the file"):
        config.assign([("requirepass-file", ["gone"])])
    assert (config.requirepass, config.requirepass_file) == ("one", "pw")


@given(st.integers(0, 1 << 40), st.sampled_from(["", "b", "k", "kb", "m", "mb", "g", "gb", "KB", "Gb"]))
def test_memory_sizes_have_decimal_and_binary_units(number: int, unit: str) -> None:
    factor = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}
    assert memory_size(f"{number}{unit}") == number * factor[unit.lower()]


@pytest.mark.parametrize("word", ["", "kb", "1x", "1 kb", "-1", "1.5gb", "1kbb", "\u0661"])
def test_what_is_no_memory_size_is_refused(word: str) -> None:
    assert memory_size(word) is None


@given(st.text(max_size=60))
def test_no_file_does_worse_than_end_the_start(text: str) -> None:
    try:
        loaded("conf", conf=text)
    except FatalConfigError as error:
        assert error.text
