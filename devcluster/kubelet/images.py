"""Which program an image name stands for: there is no registry, so a known name is a program of the machine.

`redoubt-server` and `redoubt-operator`, under any registry and any tag, are the programs of this checkout,
so an image roll changes the name and restarts the same program. Tags that begin with "missing", and unknown
names, cannot be pulled. `devcluster-tools` has the machine's own PATH (sh, python3, sleep). Called at each
container start.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent.parent
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MISSING_TAG: Final = "missing"


class ImageMissing(Exception):
    """No such image; the text is what a registry would answer."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a container gets from its image."""

    identity: str
    entrypoint: tuple[str, ...]
    path: str
    user: int
    exposed: tuple[str, ...]  # directories of the machine that the program needs, absolute and without links


def find_image(reference: str) -> Image:
    """Return the image of that name, or raise ImageMissing."""
    name, tag = split_reference(reference)
    if tag.startswith(MISSING_TAG) or name not in _KNOWN:
        raise ImageMissing(f'failed to pull and unpack image "{reference}": not found')
    if name == "devcluster-tools":
        return Image(f"devcluster/{name}", (), SYSTEM_PATH, 0, ())
    return _program_of_checkout(name)


def split_reference(reference: str) -> tuple[str, str]:
    """Return the last part of an image's name, and its tag ("latest" if it has none)."""
    without_digest = reference.partition("@")[0]
    last = without_digest.rpartition("/")[2]
    name, _, tag = last.partition(":")
    return name, tag or "latest"


_KNOWN: Final = {"redoubt-server", "redoubt-operator", "devcluster-tools"}
PROJECT_USER: Final = 10001  # the Dockerfile's USER


def _program_of_checkout(name: str) -> Image:
    wants_compiled = os.environ.get("REDOUBT_COMPILED") == "1"
    environment = REPOSITORY / (".venv-compiled" if wants_compiled else ".venv")
    if not (environment / "bin" / name).exists() and not wants_compiled:
        environment = Path(sys.prefix)  # run by tests from an environment elsewhere
    program = environment / "bin" / name
    if not program.exists():
        raise ImageMissing(f"{program} does not exist: install the project there first")
    python = (environment / "bin" / "python").resolve()
    exposed = (str(REPOSITORY), str(environment.resolve()), str(python.parent.parent))
    return Image(
        f"devcluster/{name}", (str(program),), f"{environment / 'bin'}:{SYSTEM_PATH}", PROJECT_USER, exposed
    )
