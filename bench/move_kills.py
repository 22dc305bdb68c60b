"""Twenty rounds of scaling with kills: python -m bench.move_kills [--rounds 20] [--seed N] [--compiled].

The experiment of devcluster/move_kills.py, repeated: spec.shards changes between 3 and 4 under writers, and
the leading operator and a random server get SIGKILL while slots move. Prints a line for each round, the
seed, and the totals; the exit code is 1 if an acknowledged key was lost or a round did not settle. On a
devcluster of its own, or on a real node named by REDOUBT_REALNODE.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from random import Random, SystemRandom

from bench.report import Report
from bench.slot_moves import platform
from devcluster.deployment import Deployment
from devcluster.move_kills import MoveKills


def main() -> int:
    """Run the rounds; return 1 if something was lost or did not settle."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000))
    parser.add_argument("--compiled", action="store_true", help="run the compiled servers in devcluster")
    parser.add_argument("--write", type=Path, help="write the figures into this file")
    options = parser.parse_args()
    if options.compiled:
        os.environ["REDOUBT_COMPILED"] = "1"
    report = Report("Kills during moves", options.write)
    report.say(f"seed {options.seed}")
    with ExitStack() as resources:
        deployment = Deployment(platform(resources), "kills")
        rounds = MoveKills(deployment, Random(options.seed))
        rounds.begin()
        is_settled = True
        for number in range(options.rounds):
            try:
                report.say(rounds.run(number))
            except TimeoutError as late:
                report.say(f"round {number} did not settle: {late}")
                is_settled = False
                break
        deployment.delete()
    report.times("spec.shards edited to settled, with both kills", rounds.settle_s or [0.0])
    report.say(f"acknowledged keys lost: {len(rounds.lost)}; errors at redis-py: {len(rounds.errors)}")
    report.close()
    return 1 if rounds.lost or not is_settled else 0


if __name__ == "__main__":
    sys.exit(main())
