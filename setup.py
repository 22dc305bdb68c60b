"""Builds the server: interpreted by default, compiled by mypyc with REDOUBT_MYPYC=1.

The same source runs both ways. What is compiled is the server's packages, with these exceptions:
`__init__.py` and `__main__.py` (mypyc then recurses at import) and the modules of INTERPRETED, each with
its reason. Build a wheel and install it elsewhere (`make compiled`); never build in place, since a `.so`
beside a `.py` hides every later edit.

What keeps a build short: mypyc writes one C file a module, and as many are compiled at once as there are
processors; mypyc runs when the extensions are built, and not already when pip asks for the metadata; and what
has been compiled once from the same sources by the same tools is copied from the cache ($REDOUBT_CACHE, else
~/.cache/redoubt). docs/performance.md has the figures.

Everything else about the distribution is in pyproject.toml.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SERVER = ROOT / "server" / "redoubt"

# Modules that stay interpreted, by path below server/redoubt.
INTERPRETED = {
    "config.py": "a class whose attributes are found by name; nothing hot asks it",
    "cli.py": "runs for people, not for clients: nothing to gain",
    "main.py": "runs once",
    "runtime/logfile.py": "subclasses logging.Formatter, and nothing hot logs",
    "runtime/health.py": "serves one request a second",
}
IS_COMPILED = os.environ.get("REDOUBT_MYPYC") == "1"
# 3 is no faster than 2 and takes longer to build; 1 builds in two thirds of the time and is 5 % slower.
OPT_LEVEL = os.environ.get("REDOUBT_OPT_LEVEL", "2")
JOBS = len(os.sched_getaffinity(0))
# Builds kept in the cache, of 8 MB each: a branch or two and what they are compared with.
KEPT_MAX = 8


class BuildWithRevision(build_py):
    """Leaves the abbreviated commit beside the modules, for --version and INFO."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / "redoubt" / "revision.txt"
        if not self.editable_mode and target.parent.is_dir():
            target.write_text(revision(), encoding="ascii")


class CompileServer(build_ext):
    """Turns the one extension that `setup` is told of into those of mypyc, or takes them from the cache."""

    def run(self) -> None:
        if not IS_COMPILED:
            return
        kept = cache() / "compiled" / build_key()
        target = Path(self.build_lib)
        is_kept = kept.is_dir()
        self.distribution.ext_modules = [] if is_kept else mypyc_extensions()
        self.reinitialize_command("build_ext")
        self.parallel = JOBS
        self.ensure_finalized()
        if not is_kept:
            super().run()
            try:
                keep([Path(path) for path in self.get_outputs()], target, kept)
            except OSError as error:
                self.warn(f"the build is not kept for the next time: {error}")
        else:
            self.announce(f"compiled before, from the same sources: {kept}", level=2)
            shutil.copytree(kept, target, dirs_exist_ok=True)
            os.utime(kept)

    def build_extensions(self) -> None:
        """Compile the many files of one library at once; the others are built beside one another anyway."""
        for extension in self.extensions:
            if len(extension.sources) > 1:
                extension.extra_objects = self.compile_at_once(extension)
                extension.sources = []
        super().build_extensions()

    def compile_at_once(self, extension: Extension) -> list[str]:
        """Compile an extension's files, the largest first; return the paths of the objects."""

        def compile_one(path: str) -> list[str]:
            objects: list[str] = self.compiler.compile(
                [path],
                output_dir=self.build_temp,
                include_dirs=extension.include_dirs,
                extra_postargs=extension.extra_compile_args,
            )
            return objects

        by_size = sorted(extension.sources, key=os.path.getsize, reverse=True)
        with ThreadPoolExecutor(JOBS) as pool:
            return [path for objects in pool.map(compile_one, by_size) for path in objects]


def mypyc_extensions() -> list[Extension]:
    """Let mypyc write its C files; return the extension modules to be made of them."""
    from mypyc.build import mypycify

    modules = compiled_modules()
    made = mypycify(["--strict", *modules], opt_level=OPT_LEVEL, debug_level="0", multi_file=True)
    for extension in made:
        # Warnings about generated code help nobody, and finding them takes a tenth of the compiler's time.
        extension.extra_compile_args.append("-w")
    return list(made)


def compiled_modules() -> list[str]:
    """List the paths that mypyc compiles."""
    paths = sorted(SERVER.rglob("*.py"))
    return [
        str(path.relative_to(ROOT))
        for path in paths
        if path.name not in ("__init__.py", "__main__.py")
        and path.relative_to(SERVER).as_posix() not in INTERPRETED
    ]


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


def cache() -> Path:
    """Return the directory of what is kept between builds; the Kubernetes binaries lie there, too."""
    return Path(os.environ.get("REDOUBT_CACHE") or Path.home() / ".cache" / "redoubt")


def build_key() -> str:
    """Return the digest of everything that decides what comes out of the compilers."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    named = subprocess.run(
        [*compiler.split(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    tools = [sys.version, sysconfig.get_platform(), version("mypy"), named, OPT_LEVEL]
    flags = [f"{name}={os.environ.get(name, '')}" for name in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS")]
    digest = hashlib.sha256("\0".join(tools + flags).encode())
    for path in [ROOT / "setup.py", ROOT / "pyproject.toml", *sorted(SERVER.rglob("*.py"))]:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def keep(paths: list[Path], root: Path, kept: Path) -> None:
    """Copy what was built below `root` into the cache, whole or not at all; the oldest builds there go."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as draft:
        for path in paths:
            copy = Path(draft) / "build" / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        if not kept.exists():
            os.rename(Path(draft) / "build", kept)
    builds = sorted((path for path in kept.parent.iterdir() if len(path.name) == 32), key=os.path.getmtime)
    for old in builds[:-KEPT_MAX]:
        shutil.rmtree(old, ignore_errors=True)


setup(
    # What it becomes is decided when it is built; that there is one makes the wheel one of this platform.
    ext_modules=[Extension("redoubt", [])] if IS_COMPILED else [],
    cmdclass={"build_py": BuildWithRevision, "build_ext": CompileServer},
)
