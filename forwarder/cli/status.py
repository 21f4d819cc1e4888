"""The command `forwarder status`."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from forwarder.cli._components import (
    print_components,
    reports_of,
    with_newer_states,
    with_own_states,
    worst_components,
)
from forwarder.cli._fleet import fleet_headline, fleet_report, print_members
from forwarder.cli.health import ListenerNotConfigured, ask_daemon
from forwarder.cli.output import JsonOption, echo, format_ago, print_json, print_table
from forwarder.errors import ForwarderError, SettingsError
from forwarder.fleet_health import ComponentReport
from forwarder.ledger import ONE_PROCESS, Counters, FeedStatus, Fleet, ledger_place
from forwarder.model import State
from forwarder.settings import ConfigSource, LocalSettings, load, load_local

ATTENTION_STATES = frozenset({State.FAILED, State.DEGRADED})


def status(
    context: typer.Context,
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if anything needs attention.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="List all feeds, not only those with a problem.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the switch, the components, the counters, and the feeds with a problem. Works while the daemon runs.

    On a shared ledger, it also shows the processes that forward, with the capacity units that each has consumed. Each
    problem of a component is followed by the processes that have it.

    Example: forwarder status --check
    """
    config_source: ConfigSource = context.obj
    try:
        settings: LocalSettings | None = load_local(config_source)
    except SettingsError:
        settings = None
    report, components = asyncio.run(_collect(config_source, settings))
    if as_json:
        print_json(report)
    else:
        _print(report, components, all_feeds=all_)
    if check and report["attention"]:
        raise typer.Exit(1)


class _ReadyResponse(msgspec.Struct):
    """The part of a response to /readyz that the report uses."""

    pid: int
    components: dict[str, str] = {}
    last_poll_at: datetime | None = None


async def _collect(
    config_source: ConfigSource, valid: LocalSettings | None
) -> tuple[dict[str, Any], Sequence[ComponentReport]]:
    """Return the report of `--json`, and the components. `valid` are the settings, or None if they are invalid.

    The ledger's lock, or the heartbeats on a shared ledger, show whether a daemon runs. The ledger has the saved state,
    and the endpoints of a daemon on this machine newer states.
    """
    # A running forwarder goes on with its last good settings while the file is invalid, and so does this.
    settings = valid or LocalSettings()
    place = ledger_place(config_source, settings)
    saved, feeds, oldest, counters, saved_switch, gap = None, list[FeedStatus](), None, Counters(), None, None
    fleet = ONE_PROCESS
    if place.exists():  # it does not exist before the first run, which is no error
        async with place.open() as ledger:
            saved = await ledger.daemon_status()
            feeds = await ledger.feeds()
            oldest = await ledger.oldest_pending()
            counters = await ledger.counters()
            saved_switch = await ledger.saved_switch()
            gap = await ledger.retention_gap()
            fleet = await ledger.members()
    now = datetime.now(UTC)
    running = any(each.is_running(now) for each in fleet.members) if fleet.is_shared else await place.is_running()
    # Invalid settings do not name the listener that the running daemon has.
    live, response = _ask(config_source, fleet, saved.pid) if running and saved and valid else (None, {})
    pid = response.get("pid") if fleet.is_shared else saved.pid if running and saved else None
    if saved and response.get("pid") == saved.pid:
        saved = with_newer_states(saved, response)
    fleet = with_own_states(fleet, response)
    reports = reports_of(saved, fleet, response) if running else []  # what was saved before is no state of now
    components = saved.components if saved and running else {}
    polls = [feed.last_poll.at for feed in feeds if feed.last_poll]
    if response.get("last_poll_at"):
        polls.append(datetime.fromisoformat(response["last_poll_at"]))
    report = {
        "enabled": settings.enabled if valid else saved_switch,
        "settings_error": _settings_error(config_source),
        "running": running,
        "live": live,
        "pid": pid,
        "updated_at": saved.at if saved else None,
        "components": worst_components(reports) if fleet.is_shared else components,
        "counters": counters,
        "oldest_pending_at": oldest,
        "last_poll_at": max(polls, default=None),
        "retention_gap": gap if gap and gap.is_displayed(now) else None,
        **fleet_report(place, fleet, now),
        "feeds": [
            {
                "workflow_id": each.feed.workflow_id,
                "user_id": each.feed.user_id,
                "polled_at": each.last_poll.at if each.last_poll else None,
                "error": each.last_poll.error if each.last_poll else "",
                "interval_seconds": each.last_poll.interval_seconds if each.last_poll else None,
                "interval_reason": each.last_poll.reason if each.last_poll else "",
                "watermark": each.checkpoint.watermark,
                "open_executions": len(each.checkpoint.open_executions),
            }
            for each in sorted(feeds, key=_urgency)
            if each.watched
        ],
    }
    return {**report, "attention": _attention(report, reports)}, reports


def _urgency(feed: FeedStatus) -> tuple[bool, datetime]:
    """Return a key that sorts feeds: first those whose poll failed, then those polled longest ago."""
    poll = feed.last_poll
    return (not (poll and poll.error), poll.at if poll else datetime.min.replace(tzinfo=UTC))


def _attention(report: Mapping[str, Any], components: Sequence[ComponentReport]) -> list[str]:
    """Return a sentence for each thing that needs a person. It is empty if nothing does."""
    sentences = []
    if report["settings_error"]:
        sentences.append(f"the settings are not valid: {report['settings_error']}")
    if report["enabled"] and report.get("fleet_enabled", True) and not report["running"]:
        sentences.append("the forwarder is switched on and not running")
    if report["live"] is False:
        sentences.append("the listener of the forwarder gives no healthy response")
    sentences += [
        f"{each.name} is {each.status.state}{each.place}"
        for each in components
        if each.status.state in ATTENTION_STATES
    ]
    if dead := report["counters"].dead:
        sentences.append(f"{dead} dead letter{'' if dead == 1 else 's'}: see `forwarder dead-letters list`")
    return sentences


def _ask(config_source: ConfigSource, fleet: Fleet, pid: int) -> tuple[bool | None, dict[str, Any]]:
    """Return whether the daemon with this process id reports itself as live, and its response to /readyz.

    Return None and an empty response without a listener. The response of another process is not used. On a shared
    ledger, a process of another machine may have saved the status, so the process id is not compared.
    """
    # On a machine without a member, there may be no daemon.
    may_be_absent = fleet.is_shared and socket.gethostname() not in {member.host for member in fleet.members}
    try:
        live = ask_daemon(config_source, path="/livez")
        if not live.address:
            return None, {}
        response = ask_daemon(config_source, path="/readyz").response or {}
    except ListenerNotConfigured:
        return None, {}
    except ForwarderError:
        return None if may_be_absent else False, {}
    is_same_process = _is_ready_response(response) and (fleet.is_shared or response["pid"] == pid)
    if may_be_absent and not is_same_process:
        return None, {}
    return live.healthy and is_same_process, response if is_same_process else {}


def _is_ready_response(response: Mapping[str, Any]) -> bool:
    """Return whether this may be a response of a forwarder to /readyz, and not that of another program."""
    try:
        msgspec.convert(response, _ReadyResponse)
    except msgspec.ValidationError:
        return False
    return True


def _settings_error(config_source: ConfigSource) -> str:
    try:
        load(config_source)
    except SettingsError as error:
        return error.message
    return ""


def _print(report: dict[str, Any], components: Sequence[ComponentReport], *, all_feeds: bool) -> None:
    now = datetime.now(UTC)
    is_shared = "members" in report
    switch = "on" if report["enabled"] else "off"
    echo(fleet_headline(report) if is_shared else f"switched {switch}, {_process(report)}")
    echo(f"last poll {format_ago(report['last_poll_at'], now)}")
    counters = report["counters"]
    oldest = f", the oldest recorded {format_ago(report['oldest_pending_at'], now)}" if counters.pending else ""
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
