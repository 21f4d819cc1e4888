"""The numbers of attempts, waits and timeouts. A change of one changes behaviour and has to be made here too."""

from importlib import import_module

import pytest

from forwarder.delivery.circuit_breaker import BACKOFF_SECONDS

LIMITS = {
    "alloy.connections:KEEP_ALIVE_SECONDS": 5.0,
    "alloy.http_client:MAX_TIMEOUTS": 10,
    "aws.credential_sources:MAX_METADATA_SECONDS": 2.0,
    "aws.credentials:MAX_PROVIDER_TIMEOUTS": 2,
    "aws.credentials:ROLE_DURATION_SECONDS": 3600,
    "aws.eventbridge:MAX_TIMEOUTS": 3,
    "delivery.bus_check:VERIFY_INTERVAL_SECONDS": 60.0,
    "cli.health:TIMEOUT_SECONDS": 5.0,
    "daemon:RETRY_SECONDS": 30.0,
    "delivery.bus_check:CHECK_DELAY_SECONDS": 60.0,
    "delivery.dispatcher:CLAIM_INTERVAL_SECONDS": 1.0,
    "delivery.retry:MAX_BACKOFF_SECONDS": 60.0,
    "delivery.retry:MAX_UNCLASSIFIED_ATTEMPTS": 10,
    "delivery.retry:MIN_BACKOFF_SECONDS": 0.5,
    "heartbeat:MAX_WORK_SECONDS": 600.0,
    "heartbeat:MIN_SUSPENSION_SECONDS": 10.0,
    "intake.reader:MAX_ATTEMPTS": 4,
    "intake.reader:MAX_WAIT_SECONDS": 120.0,
    "intake.scheduler:MAX_SLOWDOWN": 1.5,
    "intake.scheduler:MAX_TRIGGER_BURST": 9,
    "intake.scheduler:MIN_TRIGGER_INTERVAL_SECONDS": 1.0,
    "intake.scheduler:TRIGGERED_REQUEST_SHARE": 0.5,
    "intake.triggers:RECHECK_SECONDS": (1.0, 5.0, 30.0),
    "log_stream:MAX_FINISH_SECONDS": 1.0,
    "log_stream:MAX_WAIT_SECONDS": 1.0,
    "maintenance:RETENTION_INTERVAL_SECONDS": 60.0,
    "settings.watch:CHECK_INTERVAL_SECONDS": 0.4,
    "settings.watch:SETTLE_SECONDS": 0.1,
    "supervisor:CHECK_INTERVAL_SECONDS": 5.0,
    "supervisor:HEALTHY_RUN_SECONDS": 300.0,
    "supervisor:MAX_CANCEL_SECONDS": 30.0,
    "watchdog:NOTIFY_INTERVAL_SECONDS": 1.0,
    "web.login:LOGIN_INTERVAL_SECONDS": 30.0,
    "web.server:SHUTDOWN_GRACE_SECONDS": 1.0,
    "web.sessions:MAX_AGE_SECONDS": 43_200.0,
    "web.sessions:MAX_IDLE_SECONDS": 1_800.0,
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
