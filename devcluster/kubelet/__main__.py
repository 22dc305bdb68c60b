"""Entry of the kubelet process: `python -m devcluster.kubelet STATE`, started by the supervisor."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from devcluster.kubelet.kubelet import Kubelet
from devcluster.state import Settings, State


def main() -> None:
    """Run the kubelet of the state that the first argument names."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    state = State(Path(sys.argv[1]))
    asyncio.run(Kubelet(state, Settings.load(state)).run())


if __name__ == "__main__":
    main()
