"""The command `forwarder status`."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from forwarder.cli._components import (
    reports_of,
    with_newer_states,
    with_own_states,
    worst_components,
)
from forwarder.cli._daemon_settings import DaemonSettings, find_daemon_settings
from forwarder.cli._fleet import fleet_report
from forwarder.cli._status_text import print_status
from forwarder.cli.health import request_health
from forwarder.cli.output import JsonOption, echo, print_json
from forwarder.errors import ForwarderError, ListenerNotConfigured, SettingsError
from forwarder.fleet_health import ComponentReport
from forwarder.fleet_watch import DIFFERENT_FEEDS_HINT
from forwarder.ledger import ONE_PROCESS, Counters, FeedStatus, Fleet
from forwarder.model import PROBLEM_STATES
from forwarder.settings import ConfigSource, load, load_local


def status(
    context: typer.Context,
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if anything needs attention.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="List all feeds, not only those with a problem.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the switch, the components, the counters, and the feeds with a problem. Works while the daemon runs.

    On a shared ledger, it also shows the processes that forward, with the capacity units that each has consumed. Each
    problem of a component is followed by the processes that have it. It exits with 78 if the settings are invalid and
    no process is found to run.

    Example: forwarder status --check
    """
    config_source: ConfigSource = context.obj
    try:
        found = find_daemon_settings(config_source)
    except SettingsError as error:
        if as_json:
            print_json(_unknown_report(config_source, error))
        else:
            echo("the state is unknown, because the ledger's address cannot be read from the settings")
        raise
    report, components = asyncio.run(_collect(config_source, found))
    if as_json:
        print_json(report)
    else:
        print_status(report, components, all_feeds=all_)
    if report["settings_error"] and not report["running"]:
        raise typer.Exit(SettingsError.exit_code)
    if check and report["attention"]:
        raise typer.Exit(1)


class _ReadyResponse(msgspec.Struct):
    """The part of a response to /readyz that the report uses."""

    pid: int
    components: dict[str, str] = {}
    last_poll_at: datetime | None = None


async def _collect(
    config_source: ConfigSource, found: DaemonSettings
) -> tuple[dict[str, Any], Sequence[ComponentReport]]:
    """Return the report of `--json`, and the components.

    The ledger's lock, or the heartbeats on a shared ledger, show whether a daemon runs. The ledger has the saved state,
    and the endpoints of a daemon on this machine newer states.
    """
    place = found.place
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
    has_listener = running and saved and found.knows_listener
    live, response = _live_state(config_source, fleet, saved.pid) if saved and has_listener else (None, {})
    pid = response.get("pid") if fleet.is_shared else saved.pid if running and saved else None
    if saved and response.get("pid") == saved.pid:
        saved = with_newer_states(saved, response)
    fleet = with_own_states(fleet, response)
    reports = reports_of(saved, fleet, response) if running else []  # what was saved before is no state of now
    components = saved.components if saved and running else {}
    polls = [feed.last_poll.at for feed in feeds if feed.last_poll]
    polls += [member.polled_at for member in fleet.members if member.polled_at]
    if response.get("last_poll_at"):
        polls.append(datetime.fromisoformat(response["last_poll_at"]))
    settings_error = _settings_error(config_source)
    report = {
        "enabled": _file_switch(config_source, default=saved_switch),
        "settings_error": settings_error.message if settings_error else "",
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
        "feeds": [_feed_report(each) for each in sorted(feeds, key=lambda each: each.sort_key) if each.watched],
    }
    invalid = [_invalid(config_source, settings_error)] if settings_error else []
    return {**report, "attention": [*invalid, *_attention(report, reports)]}, reports


def _feed_report(status: FeedStatus) -> dict[str, Any]:
    poll = status.last_poll
    return {
        "workflow_id": status.feed.workflow_id,
        "user_id": status.feed.user_id,
        "polled_at": poll.at if poll else None,
        "error": poll.error if poll else "",
        "interval_seconds": poll.interval_seconds if poll else None,
        "interval_reason": poll.reason if poll else "",
        "watermark": status.checkpoint.watermark,
        "open_executions": len(status.checkpoint.open_executions),
    }


def _attention(report: Mapping[str, Any], components: Sequence[ComponentReport]) -> list[str]:
    """Return a sentence for each problem that needs a person, except those of the settings, or an empty list."""
    sentences = []
    if report["enabled"] and report.get("fleet_enabled", True) and not report["running"]:
        sentences.append("the forwarder is switched on and not running")
    if report["live"] is False:
        sentences.append("the listener of the forwarder gives no healthy response")
    sentences += [
        f"{each.name} is {each.status.state}{each.place}" for each in components if each.status.state in PROBLEM_STATES
    ]
    if len(groups := report.get("feed_groups", [])) > 1:
        parts = " | ".join(", ".join(group) for group in groups)
        sentences.append(f"the processes watch different feeds ({parts}): {DIFFERENT_FEEDS_HINT}")
    if dead := report["counters"].dead:
        sentences.append(f"{dead} dead letter{'' if dead == 1 else 's'}: see `forwarder dead-letters list`")
    return sentences


def _live_state(config_source: ConfigSource, fleet: Fleet, pid: int) -> tuple[bool | None, dict[str, Any]]:
    """Return whether the daemon with this process id reports itself as live, and its response to /readyz.

    Return None and an empty response without a listener. The response of another process is not used. On a shared
    ledger, a process of another machine may have saved the status, so the process id is not compared.
    """
    # On a machine without a member, there may be no daemon.
    may_be_absent = fleet.is_shared and socket.gethostname() not in {member.host for member in fleet.members}
    try:
        live = request_health(config_source, path="/livez")
        if not live.address:
            return None, {}
        response = request_health(config_source, path="/readyz").response or {}
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


def _unknown_report(config_source: ConfigSource, error: SettingsError) -> dict[str, Any]:
    """Return the report of `--json` if the settings do not name the ledger."""
    unknown = ["enabled", "running", "live", "pid", "updated_at", "counters", "oldest_pending_at", "last_poll_at"]
    unknown += ["retention_gap"]
    report: dict[str, Any] = {**dict.fromkeys(unknown), "components": {}, "feeds": [], "settings_error": error.message}
    return {**report, "attention": [_invalid(config_source, error)]}


def _invalid(config_source: ConfigSource, error: SettingsError) -> str:
    """Return the fault and its hint, with the name of the settings file unless they have it."""
    file = str(config_source.file)
    named = "" if file in str(error) else f" of {file}"
    return f"the settings{named} are not valid: {error}"


def _file_switch(config_source: ConfigSource, *, default: bool | None) -> bool | None:
    """Return the switch of the file, or the default if the settings of this machine are invalid."""
    try:
        return load_local(config_source).enabled
    except SettingsError:
        return default


def _settings_error(config_source: ConfigSource) -> SettingsError | None:
    try:
        load(config_source)
    except SettingsError as error:
        return error
    return None
