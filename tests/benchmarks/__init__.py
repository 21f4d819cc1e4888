"""The benchmarks: they measure speed, compare it with other programs, and check the goals.

Run them with `make bench`, `QUICK=1`, `ONLY=publishing`.

Every module `bench_*.py` is one benchmark, named after its file. It has

    GOALS = (1,)                         the numbers of the goals that it measures; see `goals.py`
    def run(bench: Bench) -> None        measures, and reports figures to the bench

and the first line of its docstring is its title. The bench (`bench.py`) offers

    bench.compare(title, unit, {name: turn})         contestants take turns, round by round → medians, spread, ratios
    bench.quantiles(title, unit, {name: samples})    the distribution of values
    bench.curve(title, x, unit, {name: points})      a figure at growing sizes
    bench.goal(1, "…", ratio, at_least=4)            the result of a goal
    bench.note("…")                                  an explanation of the figures

Tables are printed at once, and plots are written to `build/bench/`. A turn gets the seconds that it should take, and
returns its rate in units of work per second. If `bench.quick` is true, a run has a fraction of its length: all of
`make bench QUICK=1` takes two to three minutes, and without it a quarter of an hour.

The processes of a benchmark, such as the sink that replaces EventBridge, are started with `line_process.py`, listen on
loopback, and end with the benchmark.
"""
