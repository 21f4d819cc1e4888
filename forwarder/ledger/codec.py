"""How nouns stand in the tables."""

import hashlib
import struct
from datetime import UTC, datetime, timedelta

import msgspec

from forwarder.model import Checkpoint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_halves = struct.Struct(">qq").unpack
_opens = msgspec.json.Decoder(dict[str, int])

Row = tuple[int | None, int | None, int | None, int | None, bytes | None]


def digest(execution_id: str) -> tuple[int, int]:
    """The key of an id, and its proof: 64 and 48 bits of one digest."""
    key, rest = _halves(hashlib.blake2b(execution_id.encode(errors="surrogatepass"), digest_size=16).digest())
    return key, rest >> 16


def micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def instant(micros_since_epoch: int) -> datetime:
    return _EPOCH + micros_since_epoch * _MICROSECOND


def optional_micros(time: datetime | None) -> int | None:
    return None if time is None else micros(time)


def optional_instant(value: int | None) -> datetime | None:
    return None if value is None else instant(value)


def seconds_up(time: datetime) -> int:
    return -(-micros(time) // 1_000_000)


def hours_down(time: datetime) -> int:
    return micros(time) // 3_600_000_000


def checkpoint_row(checkpoint: Checkpoint) -> Row:
    opens = {execution_id: micros(start) for execution_id, start in checkpoint.open.items()}
    return (
        optional_micros(checkpoint.watermark),
        optional_micros(checkpoint.floor),
        optional_micros(checkpoint.since),
        optional_micros(checkpoint.deep_at),
        msgspec.json.encode(opens) if opens else None,
    )


def checkpoint_of(row: Row) -> Checkpoint:
    watermark, floor, since, deep_at, opens = row
    return Checkpoint(
        watermark=optional_instant(watermark),
        floor=optional_instant(floor),
        since=optional_instant(since),
        deep_at=optional_instant(deep_at),
        open={key: instant(start) for key, start in _opens.decode(opens).items()} if opens else {},
    )
