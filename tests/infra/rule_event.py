"""An event of the forwarder, as the targets of a rule get it."""

import json
from typing import Any

from tests.fakes.eventbridge import ACCOUNT, REGION


def rule_event(delivered: Any) -> dict[str, Any]:
    """Return an event that the fake bus delivered, in the form that a rule of EventBridge passes to its targets."""
    entry = delivered.entry
    return {
        "version": "0",
        "id": delivered.event_id,
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT,
        "time": delivered.at.isoformat(),
        "region": REGION,
        "resources": [],
        "detail": json.loads(entry["Detail"]),
    }
