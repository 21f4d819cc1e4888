"""The floor of the ids: what stopped until then is never recorded, because DynamoDB may have deleted its id.

An id expires a retention and EXTRA_LIFE after its settlement, by the retention that was in force then. So the floor
follows every retention whose ids may still be above it, also after `id_retention` was raised, or while the settings of
two processes differ. A ledger that is younger than a retention has deleted nothing by it, and needs no floor.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.values import Value

MAX_RAISE_INTERVAL = timedelta(days=1)
"""The longest time between two raises of the floor by one process.

For so long after its last recorded use, a retention may still be applied to ids that are settled.
"""

_MICROSECOND = timedelta(microseconds=1)
_SETTLES_FOR = MAX_RAISE_INTERVAL // _MICROSECOND

_retentions = msgspec.msgpack.Decoder(dict[int, int])


def raise_floor(item: Mapping[str, Any], id_retention: timedelta, now: datetime) -> dict[str, Value]:
    """Return the attributes to be set in the ledger's item `item`, for a process with this retention.

    `created_at` is a time before which the ledger had no ids. `id_retentions` has the retentions whose ids may still be
    above the floor, each with the time at which a process last used it. `id_floor` is set once it is needed.
    """
    at = to_micros(now)
    # Without a time of its creation, a ledger with a floor may be older than its ids.
    created_at = min(item.get("created_at", 0 if "id_floor" in item else at), at)
    stored = _retentions.decode(item["id_retentions"]) if "id_retentions" in item else {}
    used_at = {each: min(last, at) for each, last in stored.items()} | {id_retention // _MICROSECOND: at}
    floors = {each: min(at - each, last + _SETTLES_FOR) for each, last in used_at.items()}
    floor = max(item.get("id_floor", created_at), *floors.values())
    above = {each: last for each, last in used_at.items() if floors[each] < last + _SETTLES_FOR}
    attributes: dict[str, Value] = {"created_at": created_at, "id_retentions": msgspec.msgpack.encode(above)}
    return attributes | ({"id_floor": floor} if floor > created_at else {})


def unchanged_since(item: Mapping[str, Any]) -> tuple[str, dict[str, Value]]:
    """Return the condition that no process has raised the floor since `item` was read, and its values."""
    if "id_retentions" not in item:
        return "attribute_not_exists(id_retentions)", {}
    return "id_retentions = :before", {"before": item["id_retentions"]}
