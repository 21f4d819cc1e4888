"""The command `forwarder status`."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from forwarder.cli.health import ListenerNotConfigured, ask_daemon
from forwarder.cli.output import JsonOption, echo, format_ago, print_json, print_table
from forwarder.errors import ForwarderError, SettingsError
from forwarder.ledger import Counters, FeedStatus, is_running, ledger_file, open_ledger, require_ledger
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

    Example: forwarder status --check
    """
    config_source: ConfigSource = context.obj
    try:
        settings: LocalSettings | None = load_local(config_source)
    except SettingsError:
        settings = None
    report = asyncio.run(_collect(config_source, settings))
    if as_json:
        print_json(report)
    else:
        _print(report, all_feeds=all_)
    if check and report["attention"]:
        raise typer.Exit(1)


async def _collect(config_source: ConfigSource, valid: LocalSettings | None) -> dict[str, Any]:
    """Return the report of `--json`. `valid` are the settings, or None if they are invalid.

    The ledger's lock shows whether a daemon runs. The ledger has the saved state, and the daemon's endpoints newer
    states.
    """
    # A running forwarder goes on with its last good settings while the file is invalid, and so does this.
    settings = valid or LocalSettings()
    file = ledger_file(config_source, settings)
    saved, feeds, oldest, counters, saved_switch = None, list[FeedStatus](), None, Counters(), None
    require_ledger(file)
    if file.exists():  # it does not exist before the first run, which is no error
        async with open_ledger(config_source, settings) as ledger:
            saved = await ledger.daemon_status()
            feeds = await ledger.feeds()
            oldest = await ledger.oldest_pending()
            counters = await ledger.counters()
            saved_switch = await ledger.saved_switch()
    running = is_running(file)
    # Invalid settings do not name the listener that the running daemon has.
    live, response = _ask(config_source, saved.pid) if running and saved and valid else (None, {})
    components = {name: dict(component) for name, component in saved.components.items()} if saved and running else {}
    for name, state in response.get("components", {}).items():
        if name in components:
            components[name]["state"] = state
    polls = [feed.last_poll.at for feed in feeds if feed.last_poll]
    if response.get("last_poll_at"):
        polls.append(datetime.fromisoformat(response["last_poll_at"]))
    report = {
        "enabled": settings.enabled if valid else saved_switch,
        "settings_error": _settings_error(config_source),
        "running": running,
        "live": live,
        "pid": saved.pid if running and saved else None,
        "updated_at": saved.at if saved else None,
        "components": components,
        "counters": counters,
        "oldest_pending_at": oldest,
        "last_poll_at": max(polls, default=None),
        "feeds": [
            {
                "workflow_id": each.feed.workflow_id,
                "user_id": each.feed.user_id,
                "polled_at": each.last_poll.at if each.last_poll else None,
                "error": each.last_poll.error if each.last_poll else "",
                "watermark": each.checkpoint.watermark,
                "open_executions": len(each.checkpoint.open_executions),
            }
            for each in sorted(feeds, key=_urgency)
            if each.watched
        ],
    }
    return {**report, "attention": _attention(report)}


def _urgency(feed: FeedStatus) -> tuple[bool, datetime]:
    """Return a key that sorts feeds: first those whose poll failed, then those polled longest ago."""
    poll = feed.last_poll
    return (not (poll and poll.error), poll.at if poll else datetime.min.replace(tzinfo=UTC))


def _attention(report: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that needs a person. It is empty if nothing does."""
    sentences = []
    if report["settings_error"]:
        sentences.append(f"the settings are not valid: {report['settings_error']}")
    if report["enabled"] and not report["running"]:
        sentences.append("the forwarder is switched on and not running")
    if report["live"] is False:
        sentences.append("the listener of the forwarder gives no healthy response")
    sentences += [
        f"{name} is {component['state']}"
        for name, component in report["components"].items()
        if component["state"] in ATTENTION_STATES
    ]
    if dead := report["counters"].dead:
        sentences.append(f"{dead} dead letter{'' if dead == 1 else 's'}: see `forwarder dead-letters list`")
    return sentences


def _ask(config_source: ConfigSource, pid: int) -> tuple[bool | None, dict[str, Any]]:
    """Return whether the daemon with this process id reports itself as live, and its response to /readyz.

    Return None and an empty response without a listener. The response of another process is not used.
    """
    try:
        live = ask_daemon(config_source, path="/livez")
        if not live.address:
            return None, {}
        response = ask_daemon(config_source, path="/readyz").response or {}
    except ListenerNotConfigured:
        return None, {}
    except ForwarderError:
        return False, {}
    is_same_process = response.get("pid") == pid
    return live.healthy and is_same_process, response if is_same_process else {}


def _settings_error(config_source: ConfigSource) -> str:
    try:
        load(config_source)
    except SettingsError as error:
        return error.message
    return ""


def _print(report: dict[str, Any], *, all_feeds: bool) -> None:
    now = datetime.now(UTC)
    echo(f"switched {'on' if report['enabled'] else 'off'}, {_process(report)}")
    echo(f"last poll {format_ago(report['last_poll_at'], now)}")
    counters = report["counters"]
    oldest = f", the oldest recorded {format_ago(report['oldest_pending_at'], now)}" if counters.pending else ""
    sums = f"{counters.sent} sent, {counters.dead} dead, {counters.recorded} ever recorded"
    echo(f"{counters.pending} pending{oldest}; {sums}")
    if report["components"]:
        echo("")
    for name, component in report["components"].items():  # no table: a reason and its hint are shown whole at any width
        echo(f"{name:<10}{component['state']:<13}{component['reason']}".rstrip())
        if component["hint"]:
            echo(f"{'':<23}hint: {component['hint']}")
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
        ("workflow", "user", "last poll", "watermark", "open", "problem"),
        [
            (
                *(
                    feed["workflow_id"],
                    feed["user_id"] or "",
                    format_ago(feed["polled_at"], now),
                    format_ago(feed["watermark"], now),
                ),
                *(str(feed["open_executions"]), feed["error"]),
            )
            for feed in shown
        ],
        texts=("problem",),
    )


def _process(report: dict[str, Any]) -> str:
    if not report["running"]:
        return "not running"
    return f"running as process {report['pid']}" + (
        ", no healthy response from its listener: see `forwarder health`" if report["live"] is False else ""
    )
