"""The text of `forwarder status`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from forwarder.cli._components import print_components
from forwarder.cli._fleet import fleet_headline, print_members
from forwarder.cli.output import echo, format_ago, print_table
from forwarder.fleet_health import ComponentReport


def print_status(report: dict[str, Any], components: Sequence[ComponentReport], *, all_feeds: bool) -> None:
    """Print the report of `status --json`, with the feeds that have a problem, or all."""
    now = datetime.now(UTC)
    is_shared = "members" in report
    switch = {True: "switched on", False: "switched off", None: "unknown whether it is switched on"}[report["enabled"]]
    echo(fleet_headline(report) if is_shared else f"{switch}, {_process(report)}")
    echo(f"last poll {format_ago(report['last_poll_at'], now)}")
    counters = report["counters"]
    oldest_at = report["oldest_pending_at"]  # not known of events that nobody has adopted yet
    oldest = f", the oldest recorded {format_ago(oldest_at, now)}" if counters.pending and oldest_at else ""
    sums = f"{counters.sent} sent, {counters.dead} dead, {counters.recorded} ever recorded"
    echo(f"{counters.pending} pending{oldest}; {sums}")
    if gap := report["retention_gap"]:
        echo(gap.sentence)
    print_components(components)
    if is_shared:
        print_members(report, now)
    if report["attention"]:
        echo("")
        echo("needs attention:")
    for sentence in report["attention"]:
        echo(f"  {sentence}")
    _print_feeds(report["feeds"], now, all_feeds=all_feeds)


def _print_feeds(feeds: Sequence[Mapping[str, Any]], now: datetime, *, all_feeds: bool) -> None:
    shown = feeds if all_feeds else [feed for feed in feeds if feed["error"]]
    if others := len(feeds) - len(shown):
        echo("")
        echo(f"{others} of {len(feeds)} feeds without a problem (--all lists them)")
    if not shown:
        return
    echo("")
    print_table(
        ("workflow", "user", "last poll", "interval", "watermark", "open", "reason"),
        [
            (
                *(
                    feed["workflow_id"],
                    feed["user_id"] or "",
                    format_ago(feed["polled_at"], now),
                    _interval(feed["interval_seconds"]),
                    format_ago(feed["watermark"], now),
                ),
                *(str(feed["open_executions"]), feed["error"] or feed["interval_reason"]),
            )
            for feed in shown
        ],
        texts=("reason",),
    )


def _interval(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"


def _process(report: dict[str, Any]) -> str:
    if not report["running"]:
        return "not running"
    return f"running as process {report['pid']}" + (
        ", no healthy response from its listener: see `forwarder health`" if report["live"] is False else ""
    )
