"""Run the benchmarks one after the other, and report which goals hold."""

import argparse
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from tests import benchmarks
from tests.benchmarks import machine
from tests.benchmarks.bench import Bench
from tests.benchmarks.goals import GoalResult
from tests.benchmarks.report import Report

PREFIX = "bench_"


def main() -> int:
    modules = {name.removeprefix(PREFIX): name for _, name, _ in iter_modules(benchmarks.__path__, "")}
    names = [name for name, module in modules.items() if module.startswith(PREFIX)]
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="take two to three minutes, and be less exact")
    parser.add_argument("--full", action="store_true", help="simulate all loads of the detection, which takes hours")
    parser.add_argument("--only", choices=names, action="append", help="run this benchmark only")
    parser.add_argument("--into", type=Path, default=Path("build/bench"), help="the directory of report and plots")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)

    report = Report()
    report.line(machine.describe())
    goal_results: list[GoalResult] = []
    for name in options.only or names:
        module = import_module(f"{benchmarks.__name__}.{modules[name]}")
        bench = Bench(name, report, options.into, quick=options.quick, full=options.full)
        goal_results += measure(module, bench, report)
    report.summary(goal_results)
    (options.into / "report.txt").write_text(report.text)
    return int("ABORTED" in report.text)


def measure(module: ModuleType, bench: Bench, report: Report) -> list[GoalResult]:
    title = (module.__doc__ or "").partition("\n")[0].removesuffix(".")
    report.head(f"{bench.name}: {title}")
    began = time.monotonic()
    try:
        module.run(bench)
    except Exception:  # noqa: BLE001  # a benchmark that fails must not stop the others
        report.line(f"ABORTED: {traceback.format_exc()}")
    report.line(f"took {time.monotonic() - began:.0f} s")
    if unmeasured := set(module.GOALS) - {goal_result.goal for goal_result in bench.goal_results}:
        report.line(f"no figures for the goals {', '.join(map(str, sorted(unmeasured)))}")
    return bench.goal_results


if __name__ == "__main__":
    sys.exit(main())
