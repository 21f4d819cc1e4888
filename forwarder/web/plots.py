"""What was found and sent, as a drawing that needs no script: found grows up from a line, sent down from it.

Colours come from the style sheet, by class; words stand beside the drawing, so that they keep their size.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from markupsafe import Markup

from forwarder.ledger import Minute
from forwarder.web.words import clock_time, number

WIDTH, HEIGHT = 720, 168
MIDDLE = HEIGHT / 2
GAP = 0.28
"""Of the room of a bar."""

LEAST = 3.0
"""Height of a bar that stands for anything at all: one among thousands is still seen."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What was found and sent from `at` until the next bar."""

    at: datetime
    found: int
    sent: int


@dataclass(frozen=True, slots=True)
class Plot:
    """`name` tells the span, `unit` the time that a bar stands for."""

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
    def most(self) -> int:
        return max(max(bar.found, bar.sent) for bar in self.bars)

    @property
    def summary(self) -> str:
        return f"{self.name}: {number(self.found)} failures found, {number(self.sent)} events sent"

    @property
    def svg(self) -> Markup:
        return drawing(self.bars, self.summary)


def last_hour(minutes: Sequence[Minute], now: datetime) -> Plot:
    bars = bars_of(minutes, now, step=timedelta(minutes=1), count=60)
    return Plot("Last hour", "1 min", bars, bars_of(minutes, now, step=timedelta(minutes=5), count=12))


def last_day(minutes: Sequence[Minute], now: datetime) -> Plot:
    bars = bars_of(minutes, now, step=timedelta(minutes=15), count=96)
    return Plot("Last day", "15 min", bars, bars_of(minutes, now, step=timedelta(hours=1), count=24))


def bars_of(minutes: Iterable[Minute], now: datetime, *, step: timedelta, count: int) -> list[Bar]:
    """`count` bars, the last of which `now` is in. Minutes are in order; those outside are left out."""
    last = _floor(now, step)
    summed = {at: list(group) for at, group in groupby(minutes, key=lambda minute: _floor(minute.at, step))}
    times = [last - step * back for back in reversed(range(count))]
    return [
        Bar(at, sum(each.recorded for each in summed.get(at, ())), sum(each.sent for each in summed.get(at, ())))
        for at in times
    ]


def drawing(bars: Sequence[Bar], summary: str) -> Markup:
    """An `<svg>` of the bars. Each names its own numbers, for a pointer that rests on it."""
    most = max(1, *(max(bar.found, bar.sent) for bar in bars))
    room = WIDTH / len(bars)
    groups = Markup("").join(_group(bar, index * room, room, most) for index, bar in enumerate(bars))
    return Markup(
        '<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{summary}">'
        '{groups}<line class="middle" x1="0" x2="{width}" y1="{middle:g}" y2="{middle:g}"/></svg>'
    ).format(width=WIDTH, height=HEIGHT, middle=MIDDLE, summary=summary, groups=groups)


def _group(bar: Bar, x: float, room: float, most: int) -> Markup:
    if not bar.found and not bar.sent:
        return Markup("")
    found, sent = _height(bar.found, most), _height(bar.sent, most)
    told = f"{clock_time(bar.at)}: {number(bar.found)} found, {number(bar.sent)} sent"
    return Markup("<g><title>{told}</title>{area}{found}{sent}</g>").format(
        told=told,
        area=_rect("area", x, 0, room, HEIGHT),
        found=_rect("found", x + room * GAP / 2, MIDDLE - found, room * (1 - GAP), found),
        sent=_rect("sent", x + room * GAP / 2, MIDDLE, room * (1 - GAP), sent),
    )


def _height(count: int, most: int) -> float:
    return max(LEAST, (MIDDLE - 2) * count / most) if count else 0


def _rect(name: str, x: float, y: float, width: float, height: float) -> Markup:
    if not height:
        return Markup("")
    return Markup('<rect class="{}" x="{:.4g}" y="{:.4g}" width="{:.4g}" height="{:.4g}"/>').format(
        name, x, y, width, height
    )


def _floor(time: datetime, step: timedelta) -> datetime:
    day = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + (time - day) // step * step
