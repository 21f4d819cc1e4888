"""Benchmarks: how fast, against whom, and whether the goals hold. `make bench`, `QUICK=1`, `ONLY=publishing`.

Every module `bench_*.py` is one benchmark, named after its file. It has

    GOALS = (1,)                         the goals that it speaks of, by number; see `goals.py`
    def run(bench: Bench) -> None        which measures, and tells the bench what it found

and the first line of its docstring is its title. The bench (`bench.py`) offers

    bench.compare(title, unit, {name: turn})         contestants take turns, round by round → medians, spread, ratios
    bench.quantiles(title, unit, {name: samples})    how values are distributed
    bench.curve(title, x, unit, {name: points})      a figure against a growing thing
    bench.goal(1, "…", ratio, at_least=4)            whether a goal holds
    bench.note("…")                                  what a reader of the figures has to know

each of which prints a table at once, and draws a plot into `build/bench/`. A turn gets the seconds it should take, and
returns its rate: units of work per second. `bench.quick` asks for a run of a fraction of the length: the whole of
`make bench QUICK=1` takes two to three minutes, and without it a quarter of an hour.

Processes that a benchmark needs, such as the sink that stands in for EventBridge, are started through `peer.py`, on
loopback, and end with the benchmark.
"""
