"""The processes on a shared ledger, for `forwarder status`."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from forwarder.cli.output import echo, format_ago, print_table
from forwarder.ledger import Fleet, FleetMember, LedgerPlace


def fleet_report(place: LedgerPlace, fleet: Fleet, now: datetime) -> dict[str, Any]:
    """Return the part of `status --json` about a shared ledger. It is empty for a ledger of one process."""
    if not fleet.is_shared:
        return {}
    running = replace(fleet, members=tuple(each for each in fleet.members if each.is_running(now)))
    return {
        "ledger": str(place),
        "fleet_enabled": fleet.enabled,
        "feed_groups": [[each.name for each in group] for group in running.feed_groups],
        "members": [
            {
                "host": each.host,
                "id": each.id,
                "running": each.is_running(now),
                "heartbeat_at": each.heartbeat_at,
                "feeds": each.feeds,
                "read_units": each.read_units,
                "write_units": each.write_units,
                "components": {} if each.status is None else each.status.components,
            }
            for each in sorted_members(fleet)
        ],
    }


def sorted_members(fleet: Fleet) -> list[FleetMember]:
    return sorted(fleet.members, key=lambda member: (member.host, member.id))


def fleet_headline(report: Mapping[str, Any]) -> str:
    """Return a sentence about the switches and the running processes."""
    if not report["fleet_enabled"]:
        switch = "switched off for all processes"
    else:
        switch = "switched on" if report["enabled"] else "switched off in the settings on this machine"
    count = sum(member["running"] for member in report["members"])
    running = f"{count or 'no'} process{'es' if count > 1 else ''} running"
    return f"{switch}, {running} on {report['ledger']}" + (
        ", no healthy response from the listener here: see `forwarder health`" if report["live"] is False else ""
    )


def print_members(report: Mapping[str, Any], now: datetime) -> None:
    if not report["members"]:
        return
    echo("")
    print_table(
        ("host", "process", "last heartbeat", "feeds", "read units", "write units"),
        [
            (
                *(member["host"], member["id"], format_ago(member["heartbeat_at"], now)),
                *(f"{member[name]:.0f}" for name in ("feeds", "read_units", "write_units")),
            )
            for member in report["members"]
        ],
    )
