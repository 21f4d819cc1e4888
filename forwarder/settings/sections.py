"""The sections of the settings file: the type, default, bounds and description of each setting.

The descriptions are those in `docs/settings.md` and of `forwarder init`.
"""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from forwarder.event.health_event import DETAIL_TYPE as HEALTH_DETAIL_TYPE
from forwarder.model import Feed
from forwarder.settings.duration import Duration, StartFrom
from forwarder.settings.local_sections import LedgerSettings, RunSettings, VaultSettings, WebSettings
from forwarder.settings.section import Address, Interval, OptionalAddress, Section
from forwarder.settings.validators import alloy, aws, common

MIN_ENTRY_LIMIT_BYTES = 16_384
"""The least value of a size limit. An event is always smaller after all steps of `forwarder.event.truncate`."""

Statuses = Annotated[tuple[str, ...], BeforeValidator(alloy.lowercase_all)]
Workflow = Annotated[Feed, BeforeValidator(alloy.parse_feed)]
Word = Annotated[str, Field(pattern=r"^[\w.-]*$")]


class SourceSettings(Section):
    """The logs API."""

    base_url: Address = Field("https://embedded.runalloy.com", description="address of the logs API")
    version: Word = Field("2024-03", description="version segment of its paths; empty: none")
    version_header: Word = Field("", description="value of an `x-api-version` header, e.g. `2025-09`")
    path_segment: Literal["workflow", "workflows"] = Field(
        "workflow", description="name of the workflow segment in its logs path; on 404 the other is tried once"
    )
    workflows: Annotated[tuple[Workflow, ...], AfterValidator(alloy.unique_feeds)] = Field(
        (), description='workflows to watch: ids, or `{id = "…", user_id = "…"}`'
    )
    discover: bool = Field(default=False, description="also watch every workflow of every user")
    discover_interval: Interval = Field(
        timedelta(minutes=10), description="time between two discoveries of new workflows"
    )
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
    max_run_duration: Interval = Field(
        timedelta(days=7), description="time after which a run that has not ended is given up"
    )
    log_retention: Annotated[Duration, AfterValidator(common.at_least(timedelta(days=1)))] = Field(
        timedelta(days=7), description="how long the logs API keeps executions; a feed unread for so long is reported"
    )
    start_from: StartFrom = Field(
        "now", description='where a new feed begins: `"now"`, `"beginning"`, a duration back, or a time'
    )
    concurrency: int = Field(8, ge=1, le=64, description="requests in flight")
    requests_per_second: float = Field(20, gt=0, le=1000, description="requests a second, all feeds together")
    page_size: int = Field(30, ge=1, le=1000, description="executions requested per page; the API returns 30 at most")
    timeout: Interval = Field(timedelta(seconds=30), description="longest time without data during a request")
    max_body_bytes: int = Field(67_108_864, ge=1024, description="largest response body, decompressed")
    failure_statuses: Statuses = Field(
        ("error", "errored", "failed", "failure", "crashed", "timeout", "timed_out"),
        description="statuses that mean failed, whatever their case",
    )
    success_statuses: Statuses = Field(("success", "succeeded"), description="statuses that mean succeeded")
    running_statuses: Statuses = Field(
        ("running", "waiting", "pending", "queued", "new"), description="statuses that mean not yet ended"
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
        "", description="name of that bucket, in the region of the bus"
    )
    s3_prefix: str = Field(
        "forwarder/",
        max_length=200,
        pattern=r"^([A-Za-z0-9_!.*'()-][A-Za-z0-9_!.*'()/-]*)?$",
        description="start of the keys of its objects",
    )
    redact: tuple[str, ...] = Field((), description="further names whose values are redacted")
    redact_except: tuple[str, ...] = Field((), description="names whose values are not redacted")
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

    event_bus: Annotated[str, AfterValidator(aws.bus)] = Field(description="name or ARN of the bus")
    region: Annotated[str, AfterValidator(aws.region)] = Field(description="AWS region of the bus, e.g. `eu-west-1`")
    endpoint_url: OptionalAddress = Field(
        "",
        description="another address of the bus: a VPC endpoint or an emulator; on loopback, of S3, SQS and STS too",
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
