"""Plots: SVG without scripts, whose bars have the sums of the recorded minutes."""

import xml.etree.ElementTree as ET
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger import MinuteCounts
from forwarder.web.plots import HEIGHT, MIDDLE, WIDTH, Bar, build_bars, last_day, last_hour, render_svg
from tests.factories import examples
from tests.virtual_clock import NOON

MINUTE = timedelta(minutes=1)

days = st.lists(
    st.tuples(st.integers(0, 1439), st.integers(0, 10**6), st.integers(0, 10**6)),
    unique_by=lambda each: each[0],
    max_size=50,
).map(
    lambda rows: [MinuteCounts(NOON - back * MINUTE, found, sent) for back, found, sent in sorted(rows, reverse=True)]
)


@given(days)
@examples(100)
def test_day_plot_and_table_have_the_sums_of_the_minutes(minutes: list[MinuteCounts]) -> None:
    plot = last_day(minutes, NOON)
    # The day begins with the first whole quarter of an hour.
    in_plot = [each for each in minutes if each.at >= plot.bars[0].at]
    assert (plot.found, plot.sent) == (sum(each.recorded for each in in_plot), sum(each.sent for each in in_plot))
    assert len(plot.bars) == 96
    assert sum(bar.found for bar in plot.table) <= sum(each.recorded for each in minutes)


@given(days)
@examples(100)
def test_bars_are_inside_the_svg_and_visible_if_not_zero(
    minutes: list[MinuteCounts],
) -> None:
    bars = last_hour(minutes, NOON).bars
    svg = ET.fromstring(render_svg(bars, "summary"))  # noqa: S314  # our own
    for name, counts in (("found", [bar.found for bar in bars]), ("sent", [bar.sent for bar in bars])):
        rects = [rect for rect in svg.iter("rect") if rect.get("class") == name]
        assert len(rects) == sum(count > 0 for count in counts)
        for rect in rects:
            x, y, width, height = (float(rect.get(each, "")) for each in ("x", "y", "width", "height"))
            assert 0 <= x < x + width <= WIDTH + 0.01
            assert 0 <= y < y + height <= HEIGHT + 0.01
            assert height >= 1
            assert (y + height <= MIDDLE + 0.1) if name == "found" else (y >= MIDDLE - 0.1)


def test_bar_is_the_sum_of_its_minutes() -> None:
    minutes = [
        MinuteCounts(NOON - 61 * MINUTE, 9, 9),
        MinuteCounts(NOON - 6 * MINUTE, 1, 0),
        MinuteCounts(NOON - 5 * MINUTE, 2, 4),
    ]
    bars = build_bars([*minutes, MinuteCounts(NOON, 5, 6)], NOON + timedelta(seconds=59), step=5 * MINUTE, count=3)
    assert bars == [
        Bar(NOON - 10 * MINUTE, NOON - 5 * MINUTE, 1, 0),
        Bar(NOON - 5 * MINUTE, NOON, 2, 4),
        Bar(NOON, NOON + 5 * MINUTE, 5, 6),
    ]


def test_svg_has_a_text_summary() -> None:
    plot = last_hour([MinuteCounts(NOON, 1200, 3)], NOON)
    svg = ET.fromstring(plot.svg)  # noqa: S314  # our own
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "Last hour: 1\N{THIN SPACE}200 failures found, 3 events sent"
    assert [title.text for title in svg.iter("title")] == ["12:00 UTC: 1\N{THIN SPACE}200 found, 3 sent"]


def test_svg_has_no_inline_style_or_script() -> None:
    """The content security policy forbids both."""
    svg = str(last_hour([MinuteCounts(NOON, 1, 1)], NOON).svg)
    assert "style" not in svg
    assert "<script" not in svg


def test_bar_leads_to_the_events_of_its_time() -> None:
    plot = last_hour([MinuteCounts(NOON, 1200, 3)], NOON)
    assert plot.bars[-1].events_url == "/events?from=2026-11-02T12%3A00%3A00Z&to=2026-11-02T12%3A01%3A00Z"
    (group,) = ET.fromstring(plot.svg).iter("g")  # noqa: S314  # our own
    assert group.attrib == {
        "data-from": "2026-11-02T12:00:00Z",
        "data-to": "2026-11-02T12:01:00Z",
        "data-found": "1\N{THIN SPACE}200",
        "data-sent": "3",
    }
