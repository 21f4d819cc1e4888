"""The numbers of attempts, waits and timeouts, and the limits of memory.

A change of one changes behaviour and has to be made here too.
"""

from datetime import timedelta
from importlib import import_module

import pytest

from forwarder.delivery.circuit_breaker import BACKOFF_SECONDS

LIMITS = {
    "alloy.connections:KEEP_ALIVE_SECONDS": 5.0,
    "alloy.exchange:MIN_READ_ITERATIONS": 2,
    "alloy.http_client:MAX_PAUSE_SECONDS": 3600.0,
    "alloy.http_client:MAX_TIMEOUTS": 10,
    "alloy.http_client:MAX_UNCHECKED_CHUNKS": 100_000,
    "alloy.http_client:MIN_CHUNK_BYTES": 32,
    "alloy.response_body:MAX_CODINGS": 3,
    "alloy.response_body:MAX_MEMBERS": 10_000,
    "alloy.times:MAX_UNIX_SECONDS": 1e11,
    "alloy.times:MIN_UNIX_SECONDS": 100_000_000,
    "atomicfile:MAX_READ_BYTES": 16_777_216,
    "aws.credential_chain:MAX_PROCESS_OUTPUT_BYTES": 65_536,
    "aws.credential_sources:MAX_METADATA_SECONDS": 2.0,
    "aws.credentials:MAX_PROVIDER_TIMEOUTS": 2,
    "aws.credentials:ROLE_DURATION_SECONDS": 3600,
    "aws.eventbridge:MAX_TIMEOUTS": 3,
    "aws.http_session:MAX_RESPONSE_BYTES": 1_048_576,
    "aws.put_events:KEEP_ALIVE_SECONDS": 12.0,
    "aws.put_events:MAX_INTERIM_RESPONSES": 10,
    "cli.health:TIMEOUT_SECONDS": 5.0,
    "daemon:RETRY_SECONDS": 30.0,
    "delivery.batch:MAX_ENTRIES": 10,
    "delivery.bus_check:CHECK_DELAY_SECONDS": 60.0,
    "delivery.bus_check:VERIFY_INTERVAL_SECONDS": 60.0,
    "delivery.bus_health:MAX_CONSECUTIVE_REFUSALS": 5,
    "delivery.dispatcher:CLAIM_INTERVAL_SECONDS": 1.0,
    "delivery.refusal_tracker:MAX_TRACKED_ENTRIES": 10_000,
    "delivery.reporting:FLUSH_INTERVAL_SECONDS": 1.0,
    "delivery.retry:MAX_BACKOFF_SECONDS": 60.0,
    "delivery.retry:MAX_UNCLASSIFIED_ATTEMPTS": 10,
    "delivery.retry:MIN_BACKOFF_SECONDS": 0.5,
    "heartbeat:INTERVAL_SECONDS": 60.0,
    "heartbeat:MAX_WORK_SECONDS": 600.0,
    "heartbeat:MIN_SUSPENSION_SECONDS": 10.0,
    "intake.listing_order:JITTER": timedelta(seconds=1),
    "intake.listing_order:MIN_ASCENDING_PAIRS": 2,
    "intake.reader:MAX_ATTEMPTS": 4,
    "intake.reader:MAX_WAIT_SECONDS": 120.0,
    "intake.scan:MAX_CONSECUTIVE_REJECTED": 250,
    "intake.scan:MAX_PAGES_WITHOUT_IDS": 10,
    "intake.scan:MAX_REPEATED_PAGES": 2,
    "intake.scheduler:MAX_SLOWDOWN": 1.5,
    "intake.scheduler:MAX_TRIGGER_BURST": 9,
    "intake.scheduler:MIN_TRIGGER_INTERVAL_SECONDS": 1.0,
    "intake.scheduler:TRIGGERED_REQUEST_SHARE": 0.5,
    "intake.triggers:IDLE_SECONDS": 60.0,
    "intake.triggers:RECHECK_SECONDS": (1.0, 5.0, 30.0),
    "event_search:MAX_FOUND_BYTES": 33_554_432,
    "event_search:MAX_SEARCHED_ENTRIES": 1000,
    "ledger.models:MAX_POSTPONEMENT": timedelta(minutes=2),
    "ledger.sqlite.claims:MAX_CLAIM_BYTES": 33_554_432,
    "ledger.sqlite.connection:BUSY_SECONDS": 5,
    "ledger.sqlite.file_identity:MAX_SHORT_CHECKS": 2,
    "ledger.sqlite.retention:BETWEEN_PASSES": timedelta(hours=6),
    "ledger.sqlite.retention:IDS_PER_STEP": 2000,
    "ledger.sqlite.retention:PAYLOADS_PER_STEP": 500,
    "ledger.sqlite.traffic:LAG_WINDOW": timedelta(hours=1),
    "ledger.sqlite.traffic:RETENTION": timedelta(days=1),
    "ledger.sqlite.writer:MAX_GROUP": 128,
    "log_stream:MAX_FINISH_SECONDS": 1.0,
    "log_stream:MAX_WAIT_SECONDS": 1.0,
    "maintenance:RETENTION_INTERVAL_SECONDS": 60.0,
    "maintenance:RETENTION_STEP_SECONDS": 0.25,
    "maintenance:STEP_SECONDS": 0.5,
    "rate_limit:MAX_KEYS": 1000,
    "redaction.redactor:MAX_DEPTH": 200,
    "redaction.sensitive_names:MAX_NAME_CHARACTERS": 64,
    "runtime:READY_CHECK_INTERVAL_SECONDS": 0.1,
    "settings.watch:CHECK_INTERVAL_SECONDS": 0.4,
    "settings.watch:SETTLE_SECONDS": 0.1,
    "supervisor:CHECK_INTERVAL_SECONDS": 5.0,
    "supervisor:HEALTHY_RUN_SECONDS": 300.0,
    "supervisor:MAX_CANCEL_SECONDS": 30.0,
    "watchdog:NOTIFY_INTERVAL_SECONDS": 1.0,
    "web.connection_limit:ACCEPT_RETRY_SECONDS": 0.25,
    "web.connection_limit:MAX_CONNECTIONS": 512,
    "web.form_body:MAX_FIELDS": 100,
    "web.login:LOGIN_BURST": 5,
    "web.login:LOGIN_INTERVAL_SECONDS": 30.0,
    "web.middleware:MAX_BODY_BYTES": 65_536,
    "web.request_errors:LOG_INTERVAL_SECONDS": 60.0,
    "web.server:SHUTDOWN_GRACE_SECONDS": 1.0,
    "web.sessions:MAX_AGE_SECONDS": 43_200.0,
    "web.sessions:MAX_IDLE_SECONDS": 1_800.0,
    "web.sessions:MAX_SESSIONS": 100,
    "web.status_cache:CACHE_SECONDS": 1.0,
    "web.status_page:CONTACT_SECONDS": 2.0,
    "web.status_page:REFRESH_SECONDS": 1.0,
    "web.tokens:TOKEN_BYTES": 32,
    "web.webhook:WEBHOOK_BURST": 100,
    "web.webhook:WEBHOOK_INTERVAL_SECONDS": 0.02,
}


@pytest.mark.parametrize("name", LIMITS)
def test_limit_has_its_value(name: str) -> None:
    module, _, constant = name.partition(":")
    assert getattr(import_module(f"forwarder.{module}"), constant) == LIMITS[name]


def test_circuit_breaker_waits_have_their_values() -> None:
    assert {failure.name: waits for failure, waits in BACKOFF_SECONDS.items()} == {
        "OUTAGE": (0.5, 30.0),
        "UNREACHABLE": (0.5, 30.0),
        "REFUSAL": (2.0, 60.0),
        "UNKNOWN": (1.0, 300.0),
    }
