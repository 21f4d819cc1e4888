"""The encoding of ids, times and checkpoints in the tables."""

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from math import isfinite

import msgspec

from forwarder.model import Checkpoint, FeedActivity

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_halves = struct.Struct(">qq").unpack
_open_executions = msgspec.json.Decoder(dict[str, int])
_activity = struct.Struct(">qqddd")

Row = tuple[int | None, int | None, int | None, int | None, bytes | None, bytes | None]


def digest(execution_id: str) -> tuple[int, int]:
    """Return the key of an id and its fingerprint: 64 and 48 bits of one digest."""
    key, rest = _halves(hashlib.blake2b(execution_id.encode(errors="surrogatepass"), digest_size=16).digest())
    return key, rest >> 16


def text_parameter(text: str) -> str | bytes:
    """Return the parameter of a query that compares a stored text with this one.

    A text with undecodable bytes, from a command line, is in no row. Bytes equal no stored text.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def to_micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def from_micros(epoch_micros: int) -> datetime:
    return _EPOCH + epoch_micros * _MICROSECOND


def to_optional_micros(time: datetime | None) -> int | None:
    return None if time is None else to_micros(time)


def from_optional_micros(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)


def read_send_number(value: object) -> int:
    """Return a stored send number, or 1 if it is damaged. A damaged number does not prevent delivery."""
    return value if isinstance(value, int) and value > 0 else 1


def ceil_to_seconds(time: datetime) -> int:
    return -(-to_micros(time) // 1_000_000)


def floor_to_hours(time: datetime) -> int:
    return to_micros(time) // 3_600_000_000


def encode_checkpoint(checkpoint: Checkpoint) -> Row:
    """Return the columns of a checkpoint."""
    open_executions = {execution_id: to_micros(start) for execution_id, start in checkpoint.open_executions.items()}
    return (
        to_optional_micros(checkpoint.watermark),
        to_optional_micros(checkpoint.floor),
        to_optional_micros(checkpoint.local_floor),
        to_optional_micros(checkpoint.full_scan_at),
        msgspec.json.encode(open_executions) if open_executions else None,
        _encode_activity(checkpoint.activity),
    )


def decode_checkpoint(row: Row) -> Checkpoint:
    watermark, floor, local_floor, full_scan_at, open_executions, activity = row
    return Checkpoint(
        watermark=from_optional_micros(watermark),
        floor=from_optional_micros(floor),
        local_floor=from_optional_micros(local_floor),
        full_scan_at=from_optional_micros(full_scan_at),
        open_executions={key: from_micros(start) for key, start in _open_executions.decode(open_executions).items()}
        if open_executions
        else {},
        activity=_decode_activity(activity),
    )


def _encode_activity(activity: FeedActivity | None) -> bytes | None:
    if activity is None:
        return None
    times = to_micros(activity.since), to_micros(activity.at)
    return _activity.pack(*times, activity.executions, activity.failures, activity.burst)


def _decode_activity(body: bytes | None) -> FeedActivity | None:
    """Return the activity, or None for damaged bytes. The rate of the feed is then estimated from the beginning."""
    if body is None or len(body) != _activity.size:
        return None
    since, at, *counts = _activity.unpack(body)
    if not all(isfinite(each) and each >= 0 for each in counts):
        return None
    try:
        return FeedActivity(from_micros(since), from_micros(at), *counts)
    except OverflowError:
        return None
