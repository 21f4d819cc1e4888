"""The floor of the ids: what stopped until then is never recorded, because DynamoDB may have deleted its id.

An id expires a retention and EXTRA_LIFE after its settlement, by the retention that was in force then. So the floor
follows the shortest retention whose ids may still exist, also after `id_retention` was raised, or while the settings of
two processes differ. A ledger that is younger than the retention has deleted nothing, and needs no floor.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.values import Value

MAX_RAISE_INTERVAL = timedelta(days=1)
"""A process raises the floor more often than this, so it settles ids by a retention until so long after its use."""

_MICROSECOND = timedelta(microseconds=1)


def raise_floor(item: Mapping[str, Any], id_retention: timedelta, now: datetime) -> dict[str, Value]:
    """Return the attributes to be set in the ledger's item `item`, for a process with this retention.

    `created_at` is a time before which the ledger had no ids. `id_retention` is the shortest retention whose ids may
    still be above the floor, and `id_retention_at` the time at which a process last used it. `id_floor` is set once it
    is needed.
    """
    at, retention = to_micros(now), id_retention // _MICROSECOND
    # Without a time of its creation, a ledger with a floor may be older than its ids.
    created_at, used_at = min(item.get("created_at", 0 if "id_floor" in item else at), at), at
    floor = item.get("id_floor", created_at)
    if item.get("id_retention", retention) < retention:
        last_settled_at = item["id_retention_at"] + MAX_RAISE_INTERVAL // _MICROSECOND
        if at - item["id_retention"] <= last_settled_at:
            retention, used_at = item["id_retention"], item["id_retention_at"]
        else:
            floor = max(floor, last_settled_at)
    attributes: dict[str, Value] = {
        "created_at": created_at,
        "id_retention": retention,
        "id_retention_at": used_at,
    }
    floor = max(floor, at - retention)
    return attributes | ({"id_floor": floor} if floor > created_at else {})


def unchanged_since(item: Mapping[str, Any]) -> tuple[str, dict[str, Value]]:
    """Return the condition that no process has raised the floor since `item` was read, and its values."""
    if "id_retention_at" not in item:
        return "attribute_not_exists(id_retention_at)", {}
    return "id_retention_at = :before", {"before": item["id_retention_at"]}
