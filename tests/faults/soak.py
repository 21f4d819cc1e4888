"""The simulation at any length, from any seed.

    python -m tests.faults.soak --seed 7 --steps 2000 --seeds 20

It prints the steps and the figures of each run. A seed that fails replays the same plan.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.faults.plan import full_plan
from tests.faults.simulation import Result, simulate


def soak(seed: int, steps: int) -> Result:
    """Run one simulation. The logs, settings and ledger of a failed run are kept."""
    directory = Path(tempfile.mkdtemp(prefix=f"soak-{seed}-"))
    result = simulate(seed, full_plan(seed, steps), directory)
    if result.problems:
        sys.stderr.write(f"seed {seed}: kept in {directory}\n")
    else:
        shutil.rmtree(directory)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description="Run long fault simulations.")
    parser.add_argument("--seed", type=int, help="the first seed [default: random]")
    parser.add_argument("--steps", type=int, default=2000, help="[default: 2000]")
    parser.add_argument("--seeds", type=int, default=1, help="the number of seeds [default: 1]")
    parser.add_argument("--jobs", type=int, default=1, help="the number of parallel runs [default: 1]")
    chosen = parser.parse_args(arguments)
    first = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    failed = []
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        seeds = range(first, first + chosen.seeds)
        for result in pool.map(soak, seeds, [chosen.steps] * len(seeds)):
            sys.stdout.write(f"{result}\n")
            sys.stdout.flush()
            failed += [result.seed] if result.problems else []
    which = f": seeds {failed}" if failed else ""
    sys.stdout.write(f"{chosen.seeds - len(failed)} passed, {len(failed)} failed{which}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
