"""Newer judges: Redis 8.0, Valkey 8 and 9 of newer Debian suites, unpacked into the cache, never installed.

Debian 12 has Redis 7.0. What came later (hash-field expiry, newer RDB versions, atomic slot moves) needs
newer servers, and installing those would change the machine's C library. So their packages, and the libraries
they need, are fetched with a package manager state of their own, from the mirror that the machine is
configured with, and unpacked below the cache directory; a two-line script starts each program with its own
loader and libraries. Each file is checked against the SHA-256 in the suite's index, which Debian has signed:
a checksum written down here would be outdated by the next update, when the mirror drops the old file.

`judge_program` returns the path of a server; the tests call it and skip with the reason where it cannot be
had: no Debian, no network. What is there already is used without asking. `python -m tests.judges` fetches
all and says what it has.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from devcluster.state import cache_directory

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES: Final = ("trixie", "sid")
# What the servers are linked against, beside each other in one tree: the loader finds nothing elsewhere.
LIBRARIES: Final = (
    "libc6", "libgcc-s1", "libstdc++6", "libatomic1", "libjemalloc2", "liblzf1", "libssl3t64", "libsystemd0",
    "libcap2", "libzstd1", "zlib1g",
)  # fmt: skip
FETCH_SECONDS_MAX: Final = 120


@dataclass(frozen=True, slots=True)
class Judge:
    """One real server: the package that holds it, and the program in it that is also the server."""

    name: str
    package: str
    suite: str
    prefix: str

    def server(self) -> Path:
        return directory() / self.name / f"{self.prefix}-server"


JUDGES: Final = {
    judge.name: judge
    for judge in (
        Judge("redis-8.0", "redis-tools", "trixie", "redis"),
        Judge("valkey-8.1", "valkey-tools", "trixie", "valkey"),
        Judge("valkey-9", "valkey-tools", "sid", "valkey"),
    )
}


class Unobtainable(Exception):
    """A judge that cannot be had on this machine; the text says why."""


def judge_program(name: str) -> str:
    """Return the path of a judge's server, fetching it at first; skips the test where it cannot be had."""
    if reason := _reason_against(name):
        pytest.skip(f"{name} is not to be had here: {reason}")
    return str(JUDGES[name].server())


@functools.cache
def _reason_against(name: str) -> str:
    """Make sure that a judge is there; return why it cannot be, or nothing. Tried once for each run."""
    try:
        obtain(JUDGES[name])
    except Unobtainable as error:
        return str(error)
    return ""


def directory() -> Path:
    return cache_directory() / "judges"


def obtain(judge: Judge) -> Path:
    """Fetch and unpack a judge unless it is there; return its server's path. Raises Unobtainable."""
    if judge.server().exists():
        return judge.server()
    directory().mkdir(parents=True, exist_ok=True)
    with _locked(directory() / "lock"):
        if not judge.server().exists():
            libraries = directory() / "libraries"
            if not libraries.exists():
                _unpack([f"{package}/trixie" for package in LIBRARIES], libraries)
            _unpack([f"{judge.package}/{judge.suite}"], directory() / f"{judge.name}.files")
            _write_scripts(judge, libraries)
    return judge.server()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let only one process fetch at a time."""
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(packages: list[str], target: Path) -> None:
    """Fetch packages, each as `name/suite`, and unpack them into `target`, which appears when complete."""
    with tempfile.TemporaryDirectory(dir=directory()) as place:
        _package_manager(["download", *packages], Path(place))
        tree = Path(place) / "tree"
        contents = []
        for file in sorted(Path(place).glob("*.deb")):
            _run(["dpkg-deb", "-x", str(file), str(tree)])
            contents.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
        (tree / "PACKAGES").write_text("".join(contents), encoding="ascii")
        shutil.rmtree(target, ignore_errors=True)
        tree.rename(target)


def _package_manager(words: list[str], place: Path) -> None:
    """Run the package manager with sources and state of its own, on an index of today."""
    _update_index()
    _run([*_package_command(), *words], place)


def _package_command() -> list[str]:
    state = directory() / "apt"
    options = {
        "Dir::State": state, "Dir::State::status": state / "status", "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list", "Dir::Etc::sourceparts": "-",
        "Acquire::Languages": "none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Retries": "0", "Acquire::http::Timeout": "15", "APT::Sandbox::User": "root",
    }  # fmt: skip
    return ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]


@functools.cache
def _update_index() -> None:
    """Fetch what the newer suites hold, once for each run."""
    state = directory() / "apt"
    lines = [f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n" for suite in SUITES]
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text("".join(lines), encoding="ascii")
    # A source that cannot be read is an error here, not a warning.
    _run([*_package_command(), "--error-on=any", "update"])


def _mirror() -> str:
    """Return where this machine gets Debian from."""
    if shutil.which("apt-get") is None or not KEYRING.exists():
        raise Unobtainable("this machine is no Debian: no apt-get, or no keyring of its archive")
    listing = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
    )
    if not listing:
        raise Unobtainable("no Debian mirror is configured")
    return listing.split()[0]


def _run(command: list[str], place: Path | None = None) -> str:
    """Run a program to its end; return what it printed. Raises Unobtainable with its last words."""
    try:
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=FETCH_SECONDS_MAX, check=True
        )
    except subprocess.CalledProcessError as error:
        words = (error.stderr or error.stdout).strip().splitlines()
        raise Unobtainable(f"{Path(command[0]).name}: {words[-1] if words else error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unobtainable(str(error)) from None
    return done.stdout.strip()


def _write_scripts(judge: Judge, libraries: Path) -> None:
    """Write what starts the server and its command line with the loader and the libraries unpacked here.

    The server is the program that also checks RDB files: which of the two it is, its name tells it.
    """
    folder = next(libraries.glob("usr/lib/*-linux-gnu"))
    loader = next(folder.glob("ld-linux-*.so.*"))
    files = directory() / f"{judge.name}.files" / "usr" / "bin"
    place = Path(tempfile.mkdtemp(dir=directory()))
    for name, program in (("server", "check-rdb"), ("cli", "cli"), ("check-rdb", "check-rdb")):
        words = [loader, "--argv0", f"{judge.prefix}-{name}", "--library-path", folder]
        line = shlex.join(map(str, [*words, files / f"{judge.prefix}-{program}"]))
        script = place / f"{judge.prefix}-{name}"
        script.write_text(f'#!/bin/sh\nexec {line} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    _run([str(place / f"{judge.prefix}-server"), "--version"])
    os.chmod(place, 0o755)
    place.rename(directory() / judge.name)


def main() -> int:
    """Fetch every judge; say what there is."""
    reasons = [_reason_against(name) for name in JUDGES]
    for judge, reason in zip(JUDGES.values(), reasons, strict=True):
        found = f"not to be had: {reason}" if reason else _run([str(judge.server()), "--version"])
        print(f"{judge.name}: {found}")
    return 1 if any(reasons) else 0


if __name__ == "__main__":
    sys.exit(main())
