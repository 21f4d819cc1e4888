"""The bench itself: the order of turns, the ratios, the report and the plots."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import comparison
from tests.benchmarks.bench import Bench
from tests.benchmarks.comparison import Comparison
from tests.benchmarks.report import Report, number
from tests.benchmarks.sink import start_sink


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture
def bench(report: Report, tmp_path: Path) -> Bench:
    return Bench("name", report, tmp_path, quick=True)


def test_turns_start_each_round_with_another_contestant() -> None:
    turns: list[str] = []

    def turn(name: str) -> comparison.Turn:
        def take(_seconds: float) -> float:
            turns.append(name)
            return 1.0

        return take

    result = comparison.run_turns({name: turn(name) for name in "abc"}, rounds=4, seconds=0)
    assert "".join(turns) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(rates) for name, rates in result.rates.items()} == {"a": 4, "b": 4, "c": 4}


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    result = Comparison({"mine": [10, 2, 30], "theirs": [5, 1, 10]})
    assert (result.ratio("mine", "theirs"), result.median("mine"), result.spread("mine")) == (2, 10, (2, 30))
    assert result.best("theirs", "mine", "absent") == "mine"


def test_figures_are_printed_and_plotted(bench: Bench, report: Report, tmp_path: Path) -> None:
    bench.compare("A contest & more", "things/s", {"first": lambda _: 2000.0, "second": lambda _: 500.0})
    bench.quantiles("Values", "ms", {"first": [float(value) for value in range(101)]})
    bench.curve("Growth", "size", "things/s", {"first": [(1, 10), (1000, 9)], "second": [(1, 1)]})
    bench.small_multiples("Panels", "size", "s", {name: {"first": [(1, 10), (1000, 9)]} for name in ("even", "mixed")})
    words = report.text.split()
    assert {"2,000", "0.25", "p99", "99", "1,000", "–"} <= set(words)
    drawn = sorted(file.name for file in tmp_path.glob("*.svg"))
    assert drawn == ["name-a-contest-more.svg", "name-growth.svg", "name-panels.svg", "name-values.svg"]
    for name in drawn:
        assert len(ET.parse(tmp_path / name).getroot()) > 5  # noqa: S314  # a file of this test


def test_goal_holds_within_its_threshold(bench: Bench, report: Report) -> None:
    bench.goal(1, "ratio", 4.0, at_least=4)
    bench.goal(5, "latency", 51, unit="ms", at_most=50)
    assert [goal_result.holds for goal_result in bench.goal_results] == [True, False]
    report.summary(bench.goal_results)
    assert "1. publishing, against the best SDK client: holds" in report.text
    assert "goal 5: MISSED  latency: 51 ms, ≤ 50 required" in report.text
    assert "7. growth: not measured" in report.text


@pytest.mark.parametrize(
    ("value", "words"), [(0.1234, "0.123"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234"), (3.0, "3"), (0, "0")]
)
def test_number_has_three_digits(value: float, words: str) -> None:
    assert number(value) == words


def test_sink_ends_with_the_benchmark() -> None:
    with start_sink() as bus:
        assert bus.accepted_count() == 0
        process = bus._process._process  # noqa: SLF001  # its end is visible only there
    assert process.poll() == 0
