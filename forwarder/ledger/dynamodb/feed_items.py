"""The items of feeds: the feed, its checkpoint and its last poll."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import nsmallest
from operator import itemgetter
from typing import Any

import msgspec
import structlog

from forwarder.ledger.codec import decode_checkpoint, encode_checkpoint
from forwarder.ledger.dynamodb.schema import feed_of
from forwarder.ledger.models import PollResult
from forwarder.model import Checkpoint, Feed

log = structlog.get_logger("fleet")

MAX_CHECKPOINT_BYTES = 300_000
"""The size of a checkpoint. DynamoDB's limit of an item is 400 KB, about 9,000 open executions:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html. A state that grows with its workload
and exceeds it is never saved again: https://github.com/aws-solutions/instance-scheduler-on-aws/issues/113.
"""

_polls = msgspec.json.Decoder(PollResult)


@dataclass(slots=True)
class StoredFeed:
    """A feed as it was read, and what has changed since.

    `skipped_at` is the last skip that its checkpoint contains, and `scan_skipped_at` the last one when its present scan
    began.
    """

    feed: Feed
    checkpoint: Checkpoint
    version: int
    watched: bool = True
    last_poll: PollResult | None = None
    skipped_at: int = 0
    scan_skipped_at: int = 0
    changed_at: datetime | None = None


def encode_checkpoint_item(feed: Feed, checkpoint: Checkpoint) -> bytes:
    """Return the checkpoint as a feed's item holds it, with as many open executions as fit, the oldest first.

    The oldest one sets the depth of a full scan, and such a scan lists all that started later and still run.
    """
    kept = checkpoint
    encoded = msgspec.msgpack.encode(encode_checkpoint(kept))
    while len(encoded) > MAX_CHECKPOINT_BYTES:
        count = len(kept.open_executions) * MAX_CHECKPOINT_BYTES // (len(encoded) + 1)
        kept = replace(kept, open_executions=dict(nsmallest(count, kept.open_executions.items(), key=itemgetter(1))))
        encoded = msgspec.msgpack.encode(encode_checkpoint(kept))
    if kept is not checkpoint:
        log.warning(
            "checkpoint shortened to the size of an item",
            feed=str(feed),
            open_executions=len(checkpoint.open_executions),
            saved=len(kept.open_executions),
            hint="nothing is lost: the next full scan lists the others; source.max_run_duration ends runs that hang",
        )
    return encoded


def decode_feed(item: Mapping[str, Any]) -> StoredFeed:
    """Return the feed of an item."""
    watermark, floor, local_floor, full_scan_at, open_executions, activity = msgspec.msgpack.decode(item["ck"])
    return StoredFeed(
        feed_of(item["f"]),
        decode_checkpoint((watermark, floor, local_floor, full_scan_at, open_executions, activity)),
        item["v"],
        watched=bool(item.get("wa", 1)),
        last_poll=_polls.decode(item["pr"]) if item.get("pr") else None,
        skipped_at=item.get("skipped_at", 0),
    )
