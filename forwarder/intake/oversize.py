"""The treatment of events that are too large: their whole payload is stored first, and the event refers to it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

import msgspec
import structlog

from forwarder import heartbeat
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import PayloadStoreError, PayloadStoreUnavailable
from forwarder.event.truncate import fit, fit_encoded
from forwarder.health import Health
from forwarder.metrics import Metrics
from forwarder.model import Entry, State

log = structlog.get_logger("intake")

COMPONENT = "payloads"

MAX_ATTEMPTS = 3
"""Attempts to store one payload before its event is trimmed."""

PAUSE_SECONDS = 60.0
"""The time after a failure for which events are trimmed without an attempt, so that an outage delays no poll."""

TRIMMED = "events that are too large are trimmed"


class PayloadStore(Protocol):
    """A store of whole payloads."""

    bucket: str

    async def put(self, key: str, body: bytes) -> None:
        """Store an object. Storing the same object again changes nothing.

        Raise PayloadStoreUnavailable if another attempt may succeed, and PayloadStoreError otherwise.
        """


@dataclass(frozen=True, slots=True)
class PayloadReference:
    """The reference to a stored payload: the `dataref` of an event. `digest` is the SHA-256 in hexadecimal digits."""

    bucket: str
    key: str
    size: int
    digest: str

    @classmethod
    def of(cls, entry: Entry, bucket: str, prefix: str) -> "PayloadReference":
        """Return the reference for the detail of an entry.

        The key has the date of the failure, and digests of the id and of the content. The same detail has the same key.
        """
        digest = sha256(entry.detail).hexdigest()
        name = sha256(entry.execution_id.encode(errors="surrogatepass")).hexdigest()[:32]
        return cls(bucket, f"{prefix}{entry.time:%Y/%m/%d}/{name}-{digest[:16]}.json", len(entry.detail), digest)

    def to_json(self) -> Mapping[str, str | int]:
        return {"bucket": self.bucket, "key": self.key, "size": self.size, "sha256": self.digest}


class OversizeHandler:
    """A handler of the entries of one set of settings whose details exceed `max_detail_bytes`.

    Each is stored before it is recorded, so an event never refers to a missing object. A crash in between leaves an
    object that no event refers to; the lifecycle of the bucket deletes it. If the store fails, the detail is trimmed.
    """

    def __init__(
        self, store: PayloadStore, prefix: str, max_detail_bytes: int, clock: Clock, health: Health, metrics: Metrics
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._max_detail_bytes = max_detail_bytes
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._paused_until = float("-inf")

    async def fit_all(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries, in their order. Each detail has at most `max_detail_bytes`."""
        return [entry if len(entry.detail) <= self._max_detail_bytes else await self._fit(entry) for entry in entries]

    async def _fit(self, entry: Entry) -> Entry:
        reference = PayloadReference.of(entry, self._store.bucket, self._prefix)
        if await self._is_stored(entry, reference.key):
            detail = await asyncio.to_thread(refer, entry.detail, reference, self._max_detail_bytes)
        else:
            detail = await asyncio.to_thread(fit_encoded, entry.detail, self._max_detail_bytes)
        return replace(entry, detail=detail)

    async def _is_stored(self, entry: Entry, key: str) -> bool:
        """Store the payload of an entry. Return False, and report the reason, if that is impossible now."""
        if self._clock.monotonic() < self._paused_until:
            self._metrics.count_payload("skipped")
            return False
        backoff = Backoff(base=0.5, cap=2)
        for attempts_left in reversed(range(MAX_ATTEMPTS)):
            heartbeat.beat()
            try:
                await self._store.put(key, entry.detail)
            except PayloadStoreError as error:
                if isinstance(error, PayloadStoreUnavailable) and attempts_left:
                    await self._clock.sleep(backoff.next())
                    continue
                self._report_failure(error, entry)
                return False
            self._report_success()
            return True
        raise AssertionError("the last attempt returns")

    def _report_failure(self, error: PayloadStoreError, entry: Entry) -> None:
        self._paused_until = self._clock.monotonic() + PAUSE_SECONDS
        self._metrics.count_payload("failed")
        self._health.report(COMPONENT, State.DEGRADED, f"{TRIMMED}: {error.message}", error.hint)
        log.warning(
            "payload not stored, event trimmed",
            execution_id=entry.execution_id,
            reason=error.message,
            hint=error.hint,
            retry_in=PAUSE_SECONDS,
        )

    def _report_success(self) -> None:
        self._metrics.count_payload("stored")
        clear_problem(self._health)


def clear_problem(health: Health) -> None:
    """Report the component as healthy if it had a problem. Without any problem, it is not among the components."""
    if COMPONENT in health.components:
        health.healthy(COMPONENT)


def refer(encoded: bytes, reference: PayloadReference, max_bytes: int) -> bytes:
    """Return the detail with `dataref`, as JSON of at most `max_bytes`.

    If it is still too large, parts are removed as in every detail.
    """
    detail = msgspec.json.decode(encoded)
    trimmed = detail.get("trimmed") or {"shed": [], "originalBytes": len(encoded)}
    return fit({**detail, "trimmed": trimmed, "dataref": reference.to_json()}, max_bytes)
