"""Clients that are no dependencies of ours: installed once into environments of their own in the cache.

Celery pins versions that other parts of the project must not be bound to, and ioredis is JavaScript. So each
gets an environment below the cache directory, made by the ordinary package managers, and is run as a program.
Where they cannot be had (no network, no Node.js) the tests skip and say why.
"""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

from devcluster.state import cache_directory

PYTHON_PACKAGES: Final = ("celery[redis]==5.7.0", "cachelib==0.17.0")
NODE_PACKAGES: Final = ("ioredis@5",)
INSTALL_SECONDS_MAX: Final = 240


class Unobtainable(Exception):
    """An environment that cannot be made here; the text says why."""


def python_of_clients() -> str:
    """Return the Python that has Celery and cachelib; skips the test where it cannot be had."""
    return str(_made("python", _make_python) / "bin" / "python")


def modules_of_clients() -> str:
    """Return the directory that Node.js finds ioredis in; skips the test where it cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs node and npm")
    return str(_made("node", _make_node))


def _made(name: str, make: object) -> Path:
    place = cache_directory() / "clients" / name
    if reason := _reason_against(place, make):
        pytest.skip(f"the {name} clients are not to be had here: {reason}")
    return place


@functools.cache
def _reason_against(place: Path, make: object) -> str:
    """Make an environment unless it is there; return why that failed, or nothing. Tried once for each run."""
    assert callable(make)
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(place.parent / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = place / "complete"
        if mark.exists():
            return ""
        shutil.rmtree(place, ignore_errors=True)
        try:
            make(place)
        except Unobtainable as error:
            return str(error)
        mark.touch()
    return ""


def _make_python(place: Path) -> None:
    _run([sys.executable, "-m", "venv", str(place)])
    _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES])


def _make_node(place: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        Path(home, "package.json").write_text('{"private": true}\n', encoding="ascii")
        _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", home, *NODE_PACKAGES])
        shutil.copytree(Path(home, "node_modules"), place)


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=True)
    except subprocess.CalledProcessError as error:
        words = (error.stderr or error.stdout).strip().splitlines()
        raise Unobtainable(words[-1] if words else str(error)) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unobtainable(str(error)) from None
