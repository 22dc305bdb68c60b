"""How this installation was built: interpreted or compiled, and from which revision of the source.

`setup.py` leaves the revision in `revision.txt` beside this module when it builds a wheel; a checkout has
none. `--version`, INFO and the figures of the benchmarks show both, since they explain a speed.
"""

from __future__ import annotations

import os
from typing import Final


def source_revision() -> str:
    """Return the abbreviated commit of the source, zeros if unknown."""
    try:
        with open(os.path.join(os.path.dirname(__file__), "revision.txt"), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "00000000"


BUILD: Final = "interpreted" if __file__.endswith((".py", ".pyc")) else "compiled"
