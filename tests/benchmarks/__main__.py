"""Runs the benchmarks, one after the other, and says which goals hold."""

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
from tests.benchmarks.goals import Classification
from tests.benchmarks.report import Report

PREFIX = "bench_"


def main() -> int:
    modules = {name.removeprefix(PREFIX): name for _, name, _ in iter_modules(benchmarks.__path__, "")}
    names = [name for name, module in modules.items() if module.startswith(PREFIX)]
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in two to three minutes, and less exactly")
    parser.add_argument("--only", choices=names, action="append", help="this benchmark")
    parser.add_argument("--into", type=Path, default=Path("build/bench"), help="where report and plots go")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)

    report = Report()
    report.line(machine.describe())
    verdicts: list[Classification] = []
    for name in options.only or names:
        module = import_module(f"{benchmarks.__name__}.{modules[name]}")
        bench = Bench(name, report, options.into, quick=options.quick)
        verdicts += measured(module, bench, report)
    report.summary(verdicts)
    (options.into / "report.txt").write_text(report.text)
    return int("BROKEN OFF" in report.text)


def measured(module: ModuleType, bench: Bench, report: Report) -> list[Classification]:
    title = (module.__doc__ or "").partition("\n")[0].removesuffix(".")
    report.head(f"{bench.name}: {title}")
    began = time.monotonic()
    try:
        module.run(bench)
    except Exception:  # noqa: BLE001  # whatever one of them does, the others are measured
        report.line(f"BROKEN OFF: {traceback.format_exc()}")
    report.line(f"took {time.monotonic() - began:.0f} s")
    if unheard := set(module.GOALS) - {verdict.goal for verdict in bench.verdicts}:
        report.line(f"said nothing of the goals {', '.join(map(str, sorted(unheard)))}")
    return bench.verdicts


if __name__ == "__main__":
    sys.exit(main())
