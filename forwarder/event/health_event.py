"""The health event: the detail that reports a changed state of one component, and its JSON Schema."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from forwarder import __version__
from forwarder.time_format import rfc3339

DETAIL_TYPE = "Forwarder Health Changed"
"""The detail type of health events. Rules for failed executions do not match it."""

MAX_TEXT_CHARACTERS = 1000
"""The length of the longest reason, hint and instance in a health event."""


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A state of a component that differs from `previous`, the state in its last health event.

    `reason` and `hint` contain no secrets.
    """

    component: str
    state: str
    previous: str | None
    since: datetime
    reason: str = ""
    hint: str = ""


def health_detail(change: HealthChange, instance: str, now: datetime) -> bytes:
    """Return the detail of the event as JSON. Longer texts are cut at MAX_TEXT_CHARACTERS."""
    instance = _cut(instance)
    return msgspec.json.encode(
        {
            "version": "1",
            "component": change.component,
            "state": change.state,
            "previousState": change.previous,
            "since": rfc3339(change.since),
            "sentAt": rfc3339(now),
            "reason": _cut(change.reason),
            "hint": _cut(change.hint),
            "forwarder": {
                "version": __version__,
                "instance": instance,
                "idempotencyKey": _idempotency_key(change, instance),
            },
        }
    )


def health_schema() -> dict[str, Any]:
    """Return the schema of the detail. It is open: within a version, fields are only added."""
    time = {"type": "string", "format": "date-time"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": DETAIL_TYPE,
        "description": "The detail of an event that reports a changed state of one component of the forwarder.",
        "type": "object",
        "required": [
            "version",
            "component",
            "state",
            "previousState",
            "since",
            "sentAt",
            "reason",
            "hint",
            "forwarder",
        ],
        "properties": {
            "version": {"const": "1", "description": "version of this schema"},
            "component": {
                "type": "string",
                "description": "source, bus, ledger, settings, retention, payloads, a loop, the switch, or the "
                "forwarder itself",
            },
            "state": {
                "type": "string",
                "description": "FAILED, DEGRADED, HEALTHY, PAUSED or UNCONFIGURED; of the switch ENABLED or DISABLED; "
                "of the forwarder RUNNING or STOPPED",
            },
            "previousState": {
                "type": ["string", "null"],
                "description": "the state in the last event of this process for the component; null in the first",
            },
            "since": {**time, "description": "the beginning of the state"},
            "sentAt": time,
            "reason": {"type": "string", "maxLength": MAX_TEXT_CHARACTERS, "description": "a redacted sentence"},
            "hint": {"type": "string", "maxLength": MAX_TEXT_CHARACTERS, "description": "the correction"},
            "forwarder": {
                "type": "object",
                "required": ["version", "instance", "idempotencyKey"],
                "properties": {
                    "version": {"type": "string"},
                    "instance": {"type": "string", "description": "the name of the host"},
                    "idempotencyKey": {"type": "string", "description": "the same for every retry of this change"},
                },
            },
        },
    }


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[: MAX_TEXT_CHARACTERS - 1]}…"


def _idempotency_key(change: HealthChange, instance: str) -> str:
    parts = (instance, change.component, change.state, change.previous, change.since.isoformat())
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]
