"""The settings, their defaults, and their valid and invalid values."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from forwarder.model import Feed
from forwarder.settings.models import TOP_LEVEL_KEYS, setting_names, variable
from forwarder.settings.sections import SECTIONS
from tests.factories import some_settings

S, M, H, D = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))

DEFAULTS: dict[str, Any] = {
    "enabled": True,
    "on_enable": "catch_up",
    "source.base_url": "https://embedded.runalloy.com",
    "source.version": "2024-03",
    "source.version_header": "",
    "source.path_segment": "workflow",
    "source.workflows": (),
    "source.discover": False,
    "source.discover_interval": 10 * M,
    "source.min_interval": 5 * S,
    "source.hourly_failure_interval": 20 * S,
    "source.max_interval": 2 * M,
    "source.overlap": 10 * M,
    "source.max_lateness": 24 * H,
    "source.full_scan_interval": 1 * H,
    "source.max_run_duration": 7 * D,
    "source.log_retention": 7 * D,
    "source.start_from": "now",
    "source.concurrency": 8,
    "source.requests_per_second": 20,
    "source.page_size": 30,
    "source.timeout": 30 * S,
    "source.max_body_bytes": 67_108_864,
    "source.failure_statuses": ("error", "errored", "failed", "failure", "crashed", "timeout", "timed_out"),
    "source.success_statuses": ("success", "succeeded"),
    "source.running_statuses": ("running", "waiting", "pending", "queued", "new"),
    "source.unknown_status": "forward",
    "event.source": "alloy.embedded",
    "event.detail_type": "Workflow Execution Failed",
    "event.payload": "full",
    "event.oversize": "trim",
    "event.s3_bucket": "",
    "event.s3_prefix": "forwarder/",
    "event.redact": (),
    "event.redact_except": (),
    "event.health": False,
    "destination.event_bus": "failures",
    "destination.region": "eu-central-1",
    "destination.endpoint_url": "",
    "destination.role_arn": "",
    "destination.external_id": "",
    "destination.max_entry_bytes": 260_000,
    "destination.max_request_bytes": 1_000_000,
    "destination.verify": True,
    "destination.concurrency": 8,
    "destination.timeout": 10 * S,
    "destination.client": "direct",
    "vault.file": "forwarder.keys",
    "vault.master_key_file": "forwarder.master-key",
    "ledger.url": "sqlite:///forwarder.db",
    "ledger.heartbeat_interval": timedelta(seconds=5),
    "ledger.id_retention": 90 * D,
    "ledger.payload_retention": 24 * H,
    "web.listen": "127.0.0.1:8787",
    "web.public_url": "",
    "web.tls_cert": "",
    "web.tls_key": "",
    "web.trusted_proxies": (),
    "web.health_listen": "",
    "web.alloy_public_key": "",
    "run.shutdown_grace": 20 * S,
    "run.log_format": "auto",
    "run.log_level": "info",
}


def value(settings: Any, key: str) -> Any:
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def test_defaults_are_those_of_the_design() -> None:
    settings = some_settings()
    assert {key: value(settings, key) for key in setting_names()} == DEFAULTS


def test_every_setting_has_a_description() -> None:
    described = [field.description for _, section in SECTIONS for field in section.model_fields.values()]
    assert len(described) == len(DEFAULTS) - len(TOP_LEVEL_KEYS)
    assert all(described)


def test_variable_is_named_after_its_setting() -> None:
    assert (variable("enabled"), variable("source.base_url")) == ("FORWARDER_ENABLED", "FORWARDER_SOURCE__BASE_URL")


def test_settings_are_frozen() -> None:
    settings = some_settings()
    for section, name in ((settings, "enabled"), (settings.source, "page_size")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, 1)


ACCEPTED = [
    ("source.base_url", "http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
    ("source.base_url", "http://localhost:1", "http://localhost:1"),
    ("source.base_url", "http://[::1]:1", "http://[::1]:1"),
    ("source.base_url", "https://eu-embedded.runalloy.com/", "https://eu-embedded.runalloy.com"),
    ("source.version", "", ""),
    ("source.workflows", ["w", {"id": "w", "user_id": "u"}], (Feed("w"), Feed("w", "u"))),
    ("source.failure_statuses", ["FAILED", "Kaputt"], ("failed", "kaputt")),
    ("source.start_from", "24h", 24 * H),
    ("destination.event_bus", "arn:aws:events:eu-central-1:123456789012:event-bus/a/b", None),
    ("destination.region", "us-gov-west-1", None),
    ("destination.region", "ap-southeast-2", None),
    ("destination.role_arn", "arn:aws:iam::123456789012:role/path/name", None),
    ("destination.max_entry_bytes", 16_384, None),
    ("event.source", "awsome.source", None),
    ("event.detail_type", "d" * 128, None),
    ("web.listen", "", None),
    ("web.listen", "localhost:0", None),
    ("web.listen", "[::1]:8787", None),
    ("web.health_listen", "0.0.0.0:9090", None),
    ("web.public_url", "https://forwarder.example.com/", "https://forwarder.example.com"),
]


def with_value(key: str, given: Any) -> Any:
    section, name = key.split(".")
    return some_settings(**{section: {name: given}})


@pytest.mark.parametrize(("key", "given", "kept"), ACCEPTED)
def test_valid_value_is_accepted(key: str, given: Any, kept: Any) -> None:
    assert value(with_value(key, given), key) == (given if kept is None else kept)


REFUSED = [
    ("source.base_url", "http://example.com"),
    ("source.base_url", "http://127.0.0.1.example.com"),
    ("source.base_url", "ftp://example.com"),
    ("source.base_url", "https://example.com:99999"),
    ("source.base_url", "https://example.com:0"),
    ("source.base_url", "https://example.com:x"),
    ("source.base_url", "https://user:planted-secret@example.com"),
    ("source.base_url", "example.com"),
    ("source.base_url", ""),
    ("source.base_url", "https://[bad"),
    ("source.version", "a/b"),
    ("source.path_segment", "flow"),
    ("source.workflows", [""]),
    ("source.workflows", [{"id": "w", "user": "u"}]),
    ("source.workflows", ["w" * 1025]),
    ("source.workflows", [7]),
    ("source.min_interval", "3m"),
    ("source.min_interval", "0s"),
    ("source.page_size", 0),
    ("source.concurrency", 65),
    ("source.requests_per_second", 0),
    ("source.timeout", "soon"),
    ("source.unknown_status", "drop"),
    ("event.source", "aws.events"),
    ("event.source", "AWS.events"),
    ("event.source", ""),
    ("event.source", "s" * 257),
    ("event.detail_type", "d" * 129),
    ("event.detail_type", ""),
    ("event.payload", "some"),
    ("destination.event_bus", ""),
    ("destination.event_bus", "bus with spaces"),
    ("destination.event_bus", "arn:aws:sqs:eu-west-1:123456789012:queue"),
    ("destination.region", "Frankfurt"),
    ("destination.endpoint_url", "http://example.com"),
    ("destination.role_arn", "arn:aws:iam::12:role/x"),
    ("destination.max_entry_bytes", 16_383),
    ("destination.max_entry_bytes", 1_048_577),
    ("destination.max_request_bytes", 100_000),
    ("ledger.url", "postgres://x"),
    ("ledger.url", "sqlite:///"),
    ("run.log_level", "loud"),
    ("web.listen", "8787"),
    ("web.listen", "127.0.0.1"),
    ("web.listen", "127.0.0.1:65536"),
    ("web.listen", "forwarder.example.com:80"),
    ("web.listen", "::1:x"),
    ("web.public_url", "http://forwarder.example.com"),
    ("web.public_url", "https://forwarder.example.com/page"),
    ("web.trusted_proxies", ["proxy.example.com"]),
]


OPEN = "0.0.0.0:8787"
TLS = {"tls_cert": "cert.pem", "tls_key": "key.pem"}
PUBLIC = {"public_url": "https://forwarder.example.com"}
BEHIND_PROXY = {"trusted_proxies": ["10.0.0.0/8"], **PUBLIC}


@pytest.mark.parametrize("web", [{**TLS, **PUBLIC}, BEHIND_PROXY])
def test_page_with_tls_may_listen_on_a_network(web: dict[str, Any]) -> None:
    assert some_settings(web={"listen": OPEN, **web}).web.listen == OPEN


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ({"listen": OPEN}, "open to a network without TLS: set tls_cert"),
        ({"listen": "[::]:8787"}, "open to a network without TLS: set tls_cert"),
        ({"listen": OPEN, "tls_cert": "cert.pem"}, "tls_cert and tls_key go together"),
        ({"listen": OPEN, "trusted_proxies": ["10.0.0.5"]}, "trusted_proxies need public_url"),
        ({"listen": OPEN, **TLS}, "every address of this machine: set public_url"),
    ],
)
def test_page_without_tls_on_a_network_is_refused_with_hint(web: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        some_settings(web=web)


@pytest.mark.parametrize(("key", "given"), REFUSED)
def test_invalid_value_is_refused(key: str, given: Any) -> None:
    with pytest.raises(ValidationError):
        with_value(key, given)
