"""The bench itself: who takes turns when, what a ratio is, and that what it writes can be read."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import comparison
from tests.benchmarks.bench import Bench
from tests.benchmarks.comparison import Contest
from tests.benchmarks.report import Report, number
from tests.benchmarks.sink import sink


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture
def bench(report: Report, tmp_path: Path) -> Bench:
    return Bench("name", report, tmp_path, quick=True)


def test_everybody_takes_a_turn_in_every_round_and_each_round_is_begun_by_another() -> None:
    turns: list[str] = []

    def turn(name: str) -> comparison.Turn:
        def take(_seconds: float) -> float:
            turns.append(name)
            return 1.0

        return take

    held = comparison.hold({name: turn(name) for name in "abc"}, rounds=4, seconds=0)
    assert "".join(turns) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(rates) for name, rates in held.rates.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    held = Contest({"mine": [10, 2, 30], "theirs": [5, 1, 10]})
    assert (held.ratio("mine", "theirs"), held.median("mine"), held.spread("mine")) == (2, 10, (2, 30))
    assert held.best("theirs", "mine", "absent") == "mine"


def test_what_is_found_is_told_and_drawn(bench: Bench, report: Report, tmp_path: Path) -> None:
    bench.compare("A contest & more", "things/s", {"first": lambda _: 2000.0, "second": lambda _: 500.0})
    bench.quantiles("Values", "ms", {"first": [float(value) for value in range(101)]})
    bench.curve("Growth", "size", "things/s", {"first": [(1, 10), (1000, 9)], "second": [(1, 1)]})
    told = report.text.split()
    assert {"2,000", "0.25", "p99", "99", "1,000", "–"} <= set(told)
    drawn = sorted(file.name for file in tmp_path.glob("*.svg"))
    assert drawn == ["name-a-contest-more.svg", "name-growth.svg", "name-values.svg"]
    for name in drawn:
        assert len(ET.parse(tmp_path / name).getroot()) > 5  # noqa: S314  # of our own making


def test_a_goal_holds_within_its_threshold(bench: Bench, report: Report) -> None:
    bench.goal(1, "ratio", 4.0, at_least=4)
    bench.goal(5, "latency", 51, unit="ms", at_most=50)
    assert [verdict.holds for verdict in bench.verdicts] == [True, False]
    report.summary(bench.verdicts)
    assert "1. publishing, against the best SDK client: holds" in report.text
    assert "goal 5: MISSED  latency: 51 ms, ≤ 50 wanted" in report.text
    assert "7. growth: not measured" in report.text


@pytest.mark.parametrize(
    ("value", "told"), [(0.1234, "0.123"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234"), (3.0, "3"), (0, "0")]
)
def test_numbers_have_three_digits(value: float, told: str) -> None:
    assert number(value) == told


def test_the_sink_ends_with_the_benchmark() -> None:
    with sink() as bus:
        assert bus.taken() == 0
        process = bus._process._process  # noqa: SLF001  # whether it is gone can only be seen there
    assert process.poll() == 0
