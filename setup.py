"""Builds the server: interpreted by default, compiled by mypyc with REDOUBT_MYPYC=1.

The same source runs both ways. What is compiled is the server's packages, with these exceptions:
`__init__.py` and `__main__.py` (mypyc then recurses at import) and the modules of INTERPRETED, each with
its reason. Build a wheel and install it elsewhere (`make compiled`); never build in place, since a `.so`
beside a `.py` hides every later edit.

Everything else about the distribution is in pyproject.toml.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SERVER = ROOT / "server" / "redoubt"

# Modules that stay interpreted, by path below server/redoubt.
INTERPRETED = {
    "config.py": "a table whose rows and attributes are found by name; nothing hot asks it",
    "cli.py": "runs for people, not for clients: nothing to gain",
    "main.py": "runs once",
    "runtime/logfile.py": "subclasses logging.Formatter, and nothing hot logs",
    "runtime/health.py": "serves one request a second",
}


class BuildWithRevision(build_py):
    """Leaves the abbreviated commit beside the modules, for --version and INFO."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / "redoubt" / "revision.txt"
        if not self.editable_mode and target.parent.is_dir():
            target.write_text(revision(), encoding="ascii")


def revision() -> str:
    """Return the abbreviated commit of the source; REDOUBT_REVISION where there is no repository."""
    given = os.environ.get("REDOUBT_REVISION", "")
    if given:
        return given[:12]
    command = ["git", "rev-parse", "--short=8", "HEAD"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "00000000"


def compiled_modules() -> list[str]:
    """List the paths that mypyc compiles."""
    paths = sorted(SERVER.rglob("*.py"))
    return [
        str(path.relative_to(ROOT))
        for path in paths
        if path.name not in ("__init__.py", "__main__.py")
        and path.relative_to(SERVER).as_posix() not in INTERPRETED
    ]


def extensions() -> list[object]:
    """Return the extension modules of the compiled build, none for the interpreted one."""
    if os.environ.get("REDOUBT_MYPYC") != "1":
        return []
    from mypyc.build import mypycify

    # 3 is no faster than 2 and takes longer to build; 1 builds in two thirds of the time and is 5 % slower.
    level = os.environ.get("REDOUBT_OPT_LEVEL", "2")
    return list(mypycify(["--strict", *compiled_modules()], opt_level=level, debug_level="0"))


setup(ext_modules=extensions(), cmdclass={"build_py": BuildWithRevision})
