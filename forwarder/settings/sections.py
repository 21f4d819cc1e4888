"""The sections of the settings file: type, default and bounds of each setting, and its description.

The descriptions are those in `docs/settings.md` and of `forwarder init`.
"""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from forwarder.event.health_event import DETAIL_TYPE as HEALTH_DETAIL_TYPE
from forwarder.model import Feed
from forwarder.settings.duration import Duration, StartFrom
from forwarder.settings.validators import alloy, aws, common
from forwarder.settings.validators import ledger_url as ledger_validators
from forwarder.settings.validators import web as web_validators

MIN_ENTRY_LIMIT_BYTES = 16_384
"""The least value of a size limit. An event is always smaller after all steps of `forwarder.event.truncate`."""

FREE_TEXT_FIELDS = ("detail_type", "redact", "redact_except")
"""Fields that may hold any text. Others reject quotation marks, placeholders and control characters."""

Interval = Annotated[Duration, AfterValidator(common.at_least(timedelta(milliseconds=1)))]
Address = Annotated[str, AfterValidator(common.address)]
OptionalAddress = Annotated[str, AfterValidator(common.optional_address)]
Listen = Annotated[str, AfterValidator(web_validators.listen)]
Network = Annotated[str, AfterValidator(web_validators.network)]
Statuses = Annotated[tuple[str, ...], BeforeValidator(alloy.lowercase_all)]
Workflow = Annotated[Feed, BeforeValidator(alloy.parse_feed)]
Word = Annotated[str, Field(pattern=r"^[\w.-]*$")]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _reject_wrapped(cls, value: object, info: ValidationInfo) -> object:
        return (
            value
            if info.field_name in FREE_TEXT_FIELDS
            else common.reject_wrapped(common.reject_control_characters(value))
        )


class SourceSettings(Section):
    """The logs API."""

    base_url: Address = Field("https://embedded.runalloy.com", description="its address")
    version: Word = Field("2024-03", description="version segment of its paths; empty: none")
    version_header: Word = Field("", description="value of an `x-api-version` header, e.g. `2025-09`")
    path_segment: Literal["workflow", "workflows"] = Field(
        "workflow", description="name of the workflow segment in its logs path; on 404 the other is tried once"
    )
    workflows: Annotated[tuple[Workflow, ...], AfterValidator(alloy.unique_feeds)] = Field(
        (), description='what to watch: ids, or `{id = "…", user_id = "…"}`'
    )
    discover: bool = Field(default=False, description="also watch every workflow of every user")
    discover_interval: Interval = Field(timedelta(minutes=10), description="how often to look for new ones")
    min_interval: Interval = Field(timedelta(seconds=5), description="shortest time between two polls of a feed")
    max_interval: Interval = Field(timedelta(minutes=2), description="longest time between two polls of a feed")
    hourly_failure_interval: Interval = Field(
        timedelta(seconds=20),
        description="time between two polls of a feed that fails once an hour; others follow the root of their rate",
    )
    overlap: Duration = Field(timedelta(minutes=10), description="how far below the watermark a poll goes")
    max_lateness: Duration = Field(
        timedelta(hours=24),
        description="how far below the watermark a full scan goes: more than the delay of the list, and its interval",
    )
    full_scan_interval: Interval = Field(timedelta(hours=1), description="how often a poll is a full scan")
    max_run_duration: Interval = Field(timedelta(days=7), description="when a run that never ends is given up")
    log_retention: Annotated[Duration, AfterValidator(common.at_least(timedelta(days=1)))] = Field(
        timedelta(days=7), description="how long the logs API keeps executions; a feed unread for so long is reported"
    )
    start_from: StartFrom = Field(
        "now", description='where a new feed begins: `"now"`, `"beginning"`, a duration back, or a time'
    )
    concurrency: int = Field(8, ge=1, le=64, description="requests in flight")
    requests_per_second: float = Field(20, gt=0, le=1000, description="requests a second, all feeds together")
    page_size: int = Field(30, ge=1, le=1000, description="executions requested per page; the API returns 30 at most")
    timeout: Interval = Field(timedelta(seconds=30), description="longest silence in a request")
    max_body_bytes: int = Field(67_108_864, ge=1024, description="largest response body, decompressed")
    failure_statuses: Statuses = Field(
        ("error", "errored", "failed", "failure", "crashed", "timeout", "timed_out"),
        description="statuses that mean failed, whatever their case",
    )
    success_statuses: Statuses = Field(("success", "succeeded"), description="statuses that mean succeeded")
    running_statuses: Statuses = Field(
        ("running", "waiting", "pending", "queued", "new"), description="statuses that mean not ended yet"
    )
    unknown_status: Literal["forward", "ignore"] = Field(
        "forward", description="what to do with a run that ended and neither failed nor succeeded"
    )

    @model_validator(mode="after")
    def _check_intervals(self) -> Self:
        if self.min_interval > self.max_interval:
            raise ValueError("min_interval is longer than max_interval")
        if self.full_scan_interval >= self.max_lateness:
            raise ValueError("full_scan_interval is not shorter than max_lateness: failures between would be missed")
        alloy.reject_version_in_base_url(self.base_url, self.version)
        return self


class EventSettings(Section):
    """The events that are sent."""

    source: Annotated[str, AfterValidator(aws.event_source)] = Field(
        "alloy.embedded", min_length=1, max_length=256, description="the event's `source`"
    )
    detail_type: str = Field(
        "Workflow Execution Failed", min_length=1, max_length=128, description="the event's `detail-type`"
    )
    payload: Literal["full", "errors", "none"] = Field(
        "full", description="results in the event: all blocks, the failed ones without their data, or nothing"
    )
    oversize: Literal["trim", "s3"] = Field(
        "trim",
        description="an event that is too large is trimmed; with `s3` its whole detail is stored in a bucket too",
    )
    s3_bucket: Annotated[str, AfterValidator(aws.bucket)] = Field(
        "", description="that bucket, in the region of the bus"
    )
    s3_prefix: str = Field(
        "forwarder/",
        max_length=200,
        pattern=r"^([A-Za-z0-9_!.*'()-][A-Za-z0-9_!.*'()/-]*)?$",
        description="how the keys in it begin",
    )
    redact: tuple[str, ...] = Field((), description="further names whose values are redacted")
    redact_except: tuple[str, ...] = Field((), description="names taken out of redaction")
    health: bool = Field(
        default=False, description="also publish an event when a component fails or recovers, or the switch changes"
    )

    @model_validator(mode="after")
    def _check_detail_type(self) -> Self:
        if self.health and self.detail_type == HEALTH_DETAIL_TYPE:
            raise ValueError(f"detail_type is that of health events: choose another name than {HEALTH_DETAIL_TYPE!r}")
        return self

    @model_validator(mode="after")
    def _require_bucket(self) -> Self:
        if self.oversize == "s3" and not self.s3_bucket:
            raise ValueError('oversize = "s3" needs s3_bucket')
        return self


class DestinationSettings(Section):
    """The event bus."""

    event_bus: Annotated[str, AfterValidator(aws.bus)] = Field(description="its name or ARN")
    region: Annotated[str, AfterValidator(aws.region)] = Field(description="its AWS region, e.g. `eu-west-1`")
    endpoint_url: OptionalAddress = Field(
        "",
        description="another address for it: a VPC endpoint, or an emulator; one on loopback is that of S3, SQS and STS"
        " too",
    )
    role_arn: Annotated[str, AfterValidator(aws.role)] = Field("", description="role to assume")
    external_id: str = Field("", max_length=1224, description="external id for that role")
    # By default an event fits targets of 256 KiB, with the envelope that EventBridge adds.
    max_entry_bytes: int = Field(
        260_000, ge=MIN_ENTRY_LIMIT_BYTES, le=1_048_576, description="largest event, as EventBridge counts"
    )
    max_request_bytes: int = Field(
        1_000_000, ge=MIN_ENTRY_LIMIT_BYTES, le=1_048_576, description="largest sum of events in a request"
    )
    verify: bool = Field(
        default=True,
        description="check with DescribeEventBus that the bus exists; `false` for buses that may not be described",
    )
    concurrency: int = Field(8, ge=1, le=256, description="requests in flight")
    timeout: Interval = Field(timedelta(seconds=10), description="longest wait for a response")
    client: Literal["direct", "sdk"] = Field(
        "direct", description="client for PutEvents: a fast one of the forwarder's own, or the AWS SDK's"
    )

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.max_entry_bytes > self.max_request_bytes:
            raise ValueError("max_entry_bytes is larger than max_request_bytes")
        aws.require_bus_region(self.event_bus, self.region)
        aws.require_endpoint_region(self.endpoint_url, self.region)
        return self


class VaultSettings(Section):
    """The sealed secrets."""

    file: str = Field("forwarder.keys", min_length=1, description="where they are, relative to this file")
    master_key_file: str = Field(
        "forwarder.master-key",
        description="file of the key that opens them; empty: the key is the credential `forwarder-master-key`, or in"
        " `FORWARDER_MASTER_KEY_FILE` or `FORWARDER_MASTER_KEY`",
    )


class LedgerSettings(Section):
    """The executions recorded, pending and sent."""

    url: Annotated[str, AfterValidator(ledger_validators.ledger_url)] = Field(
        "sqlite:///forwarder.db",
        description="a file, relative to this one, or a table that processes share: `dynamodb://TABLE?region=…`",
    )
    heartbeat_interval: Interval = Field(
        timedelta(seconds=5), description="how often a process shows the others of a shared ledger that it is alive"
    )
    id_retention: Interval = Field(timedelta(days=90), description="how long an id is remembered")
    payload_retention: Duration = Field(timedelta(hours=24), description="how long a sent event is kept whole")


class WebSettings(Section):
    """The web UI, the health endpoints and the webhook."""

    listen: Listen = Field("127.0.0.1:8787", description="their address; empty: none; port 0: any that is free")
    public_url: Annotated[OptionalAddress, AfterValidator(web_validators.origin)] = Field(
        "", description="the address people and Alloy know it by, where that is another one"
    )
    tls_cert: str = Field("", description="PEM file of its certificate and of those that signed it")
    tls_key: str = Field("", description="PEM file of the key to it")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="addresses or networks of proxies before it that add TLS and `X-Forwarded-For`"
    )
    health_listen: Listen = Field(
        "", description="a second address, of `/livez`, `/readyz` and `/metrics` alone, that may be open to a network"
    )
    alloy_public_key: str = Field(
        "", description="PEM file of the key that Alloy signs with; then a webhook request must be signed"
    )

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key go together")
        if self.trusted_proxies and not self.public_url.startswith("https://"):
            raise ValueError("trusted_proxies need public_url: the https address of the proxy")
        if not (web_validators.is_loopback_only(self.listen) or self.tls_cert or self.trusted_proxies):
            raise ValueError(
                "listen is open to a network without TLS: set tls_cert and tls_key, or trusted_proxies and public_url,"
                " or listen on 127.0.0.1"
            )
        if web_validators.is_wildcard(self.listen) and not self.public_url:
            raise ValueError("listen is every address of this machine: set public_url to the address that browsers use")
        return self


class RunSettings(Section):
    """The process."""

    shutdown_grace: Duration = Field(timedelta(seconds=20), description="how long requests in flight may take to end")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="format of the log, by default JSON unless on a terminal"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")


SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    ("source", SourceSettings),
    ("event", EventSettings),
    ("destination", DestinationSettings),
    ("vault", VaultSettings),
    ("ledger", LedgerSettings),
    ("web", WebSettings),
    ("run", RunSettings),
)
"""The sections, in the order of the settings file."""
