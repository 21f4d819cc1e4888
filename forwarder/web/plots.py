"""A bar chart of found and sent failures that needs no script: found grows up from a line, sent grows down.

Colours come from the style sheet, by class; text is outside the drawing, so that it keeps its size.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from urllib.parse import urlencode

from markupsafe import Markup

from forwarder.ledger import MinuteCounts
from forwarder.web.formatting import clock_time, iso_time, number

WIDTH, HEIGHT = 720, 168
MIDDLE = HEIGHT / 2
GAP_RATIO = 0.28
"""The share of a bar's width that is left empty."""

MIN_BAR_HEIGHT = 3.0
"""The least height of a bar with a count above 0, so that one among thousands is visible."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The failures found and sent from `at` until `end`, the start of the next bar."""

    at: datetime
    end: datetime
    found: int
    sent: int

    @property
    def events_url(self) -> str:
        """Return the URL of the list of the events that were found in this time."""
        return f"/events?{urlencode({'from': iso_time(self.at), 'to': iso_time(self.end)})}"


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot. `name` is its period, and `unit` the length of time of one bar. `table` has fewer, longer bars."""

    name: str
    unit: str
    bars: Sequence[Bar]
    table: Sequence[Bar]

    @property
    def found(self) -> int:
        return sum(bar.found for bar in self.bars)

    @property
    def sent(self) -> int:
        return sum(bar.sent for bar in self.bars)

    @property
    def max_count(self) -> int:
        return max(max(bar.found, bar.sent) for bar in self.bars)

    @property
    def summary(self) -> str:
        return f"{self.name}: {number(self.found)} failures found, {number(self.sent)} events sent"

    @property
    def svg(self) -> Markup:
        return render_svg(self.bars, self.summary)


def last_hour(minutes: Sequence[MinuteCounts], now: datetime) -> Plot:
    bars = build_bars(minutes, now, step=timedelta(minutes=1), count=60)
    return Plot("Last hour", "1 min", bars, build_bars(minutes, now, step=timedelta(minutes=5), count=12))


def last_day(minutes: Sequence[MinuteCounts], now: datetime) -> Plot:
    bars = build_bars(minutes, now, step=timedelta(minutes=15), count=96)
    return Plot("Last day", "15 min", bars, build_bars(minutes, now, step=timedelta(hours=1), count=24))


def build_bars(minutes: Iterable[MinuteCounts], now: datetime, *, step: timedelta, count: int) -> list[Bar]:
    """Return `count` bars of the length `step`, oldest first. The last bar contains `now`.

    `minutes` are ordered by time. Minutes outside the bars are ignored.
    """
    last = _floor(now, step)
    grouped = groupby(minutes, key=lambda minute: _floor(minute.at, step))
    summed = {at: [(each.recorded, each.sent) for each in group] for at, group in grouped}
    times = [last - step * back for back in reversed(range(count))]
    return [Bar(at, at + step, *map(sum, zip((0, 0), *summed.get(at, ()), strict=True))) for at in times]


def render_svg(bars: Sequence[Bar], summary: str) -> Markup:
    """Return an `<svg>` of the bars. Each bar has a title with its numbers. `summary` is the label of the image."""
    max_count = max(1, *(max(bar.found, bar.sent) for bar in bars))
    bar_width = WIDTH / len(bars)
    groups = Markup("").join(_group(bar, index * bar_width, bar_width, max_count) for index, bar in enumerate(bars))
    return Markup(
        '<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{summary}">'
        '{groups}<line class="middle" x1="0" x2="{width}" y1="{middle:g}" y2="{middle:g}"/></svg>'
    ).format(width=WIDTH, height=HEIGHT, middle=MIDDLE, summary=summary, groups=groups)


def _group(bar: Bar, x: float, bar_width: float, max_count: int) -> Markup:
    if not bar.found and not bar.sent:
        return Markup("")
    found, sent = _height(bar.found, max_count), _height(bar.sent, max_count)
    title = f"{clock_time(bar.at)} UTC: {number(bar.found)} found, {number(bar.sent)} sent"
    return Markup(
        '<g data-from="{start}" data-to="{end}" data-found="{found_count}" data-sent="{sent_count}">'
        "<title>{title}</title>{area}{found}{sent}</g>"
    ).format(
        start=iso_time(bar.at),
        end=iso_time(bar.end),
        found_count=number(bar.found),
        sent_count=number(bar.sent),
        title=title,
        area=_rect("area", x, 0, bar_width, HEIGHT),
        found=_rect("found", x + bar_width * GAP_RATIO / 2, MIDDLE - found, bar_width * (1 - GAP_RATIO), found),
        sent=_rect("sent", x + bar_width * GAP_RATIO / 2, MIDDLE, bar_width * (1 - GAP_RATIO), sent),
    )


def _height(count: int, max_count: int) -> float:
    return max(MIN_BAR_HEIGHT, (MIDDLE - 2) * count / max_count) if count else 0


def _rect(name: str, x: float, y: float, width: float, height: float) -> Markup:
    if not height:
        return Markup("")
    return Markup('<rect class="{}" x="{:.4g}" y="{:.4g}" width="{:.4g}" height="{:.4g}"/>').format(
        name, x, y, width, height
    )


def _floor(time: datetime, step: timedelta) -> datetime:
    day = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + (time - day) // step * step
