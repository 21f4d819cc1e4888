"""The size formula of EventBridge agrees with the fake bus, and the largest event fits the targets of rules."""

import json

import pytest
from hypothesis import given

from forwarder.event.truncate import entry_bytes, max_detail_bytes
from tests.factories import examples, some_settings, texts
from tests.fakes import put_events


@pytest.mark.parametrize(
    ("source", "detail_type", "detail", "size"),
    [("", "", b"", 14), ("a", "bc", b"{}", 19), ("ä", "🫖", '{"é":1}'.encode(), 14 + 2 + 4 + 8)],
)
def test_entry_size_is_fourteen_bytes_and_its_texts(source: str, detail_type: str, detail: bytes, size: int) -> None:
    assert entry_bytes(source, detail_type, detail) == size


@given(texts, texts, texts)
@examples(100)
def test_entry_size_agrees_with_the_fake_bus(source: str, detail_type: str, detail: str) -> None:
    result = {"Time": 1, "Source": source, "DetailType": detail_type, "Detail": detail, "EventBusName": "not counted"}
    assert entry_bytes(source, detail_type, detail.encode()) == put_events.entry_bytes(result)


@given(texts, texts)
@examples(50)
def test_largest_detail_fills_the_entry(source: str, detail_type: str) -> None:
    max_bytes = max_detail_bytes(source, detail_type, 16_384)
    assert entry_bytes(source, detail_type, b"x" * max_bytes) == 16_384


def test_largest_event_by_default_fits_targets_of_256_kib() -> None:
    """SNS and Step Functions refuse a larger one. A rule delivers the entry in an envelope."""
    settings = some_settings()
    source, detail_type = settings.event.source, settings.event.detail_type
    size = max_detail_bytes(source, detail_type, settings.destination.max_entry_bytes)
    envelope = {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": detail_type,
        "source": source,
        "account": "111122223333",
        "time": "2026-11-20T03:12:40Z",
        "region": "ap-southeast-1",
        "resources": [],
        "detail": {"text": "x" * (size - len('{"text":""}'))},
    }
    assert len(json.dumps(envelope, separators=(",", ":"))) <= 262_144
