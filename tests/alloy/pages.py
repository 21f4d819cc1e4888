"""Sample pages of the API, and strategies for well-formed and malformed records."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from forwarder.demo.sample_data import FAILURES, VARIANTS, execution
from tests.virtual_clock import NOON


def record(execution_id: str = "e-1", outcome: Any = "failed-block", variant: Any = "2024-03") -> dict[str, Any]:
    started = NOON - timedelta(seconds=1.5)
    return execution(outcome, id=execution_id, started=started, stopped=NOON, variant=variant, payload={"a": 1})


def body(records: Sequence[bytes]) -> bytes:
    return b'{"data": [' + b", ".join(records) + b"]}"


def encoded(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode(errors="surrogatepass")


well_formed = st.builds(
    record,
    st.uuids().map(str),
    st.sampled_from(["success", "running", *FAILURES]),
    st.sampled_from(VARIANTS),
)

EXCESSIVE_DEPTH = 5000

# These values are JSON by syntax, but decoders may fail on them.
malformed_values = st.sampled_from(
    [
        rb'"\ud800"',
        rb'"\udc00 \ud83e"',
        rb'"\\\ud800"',
        rb'"\u0000"',
        b"9" * 60,
        b"-" + b"9" * 60,
        b"1" + b"0" * 4000,
        b"1e999",
        b"-1.5e400",
        b"1" * 400 + b".5",
        b"[" * EXCESSIVE_DEPTH + b"]" * EXCESSIVE_DEPTH,
        b'{"a":' * EXCESSIVE_DEPTH + b"1" + b"}" * EXCESSIVE_DEPTH,
        b"[" * EXCESSIVE_DEPTH + rb'"\ud800"' + b"]" * EXCESSIVE_DEPTH,
        b'"\xff\xfe"',
        b'"caf\xe9"',
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b"0",
        b"1793620799",
        b"1793620799000",
        b'"2026-13-45"',
        b'"2026-11-02"',
        b'"0001-01-01T00:00:00+23:59"',
        b'"9999-12-31T23:59:59-23:59"',
        b'{"executionId": "inner"}',
    ]
)

FIELDS = [
    "status",
    "finished",
    "message",
    "error",
    "results",
    "startedAt",
    "stoppedAt",
    "completedAt",
    "inputs",
    "more",
]


def with_field(content: dict[str, Any], name: str, value: bytes) -> bytes:
    """Encode the record with a field that has the given bytes as its value."""
    others = {key: field for key, field in content.items() if key != name}
    return encoded(others)[:-1] + b", " + encoded(name) + b": " + value + b"}"


malformed = st.builds(with_field, well_formed, st.sampled_from(FIELDS), malformed_values)
"""Records with an id and an unusual value in one field."""
