"""A strict fake of EventBridge, STS and SQS on one socket, which refuses the same requests as AWS.

    with StrictEventBridge() as bridge:
        bridge.next(throttled(), reset_after(delivered=True))
        …
        assert {event.detail["executionId"] for event in bridge.delivered} == {"1", "2"}

Signatures are verified by `signing.py`, requests and entries by `put_events.py`, and faults come from
`bus_faults.py`. For a bus that does not exist, AWS answers 200 with an id for each event, and drops them all.
Only `DescribeEventBus` reports it. No queue exists.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl

from tests.fakes import put_events, sts
from tests.fakes.actions import Action, HttpResponse
from tests.fakes.bus_faults import CHAOS, JSON_HEADERS, Fault, refusal
from tests.fakes.fault_plan import FaultPlan
from tests.fakes.signing import Key, SignatureError, verify
from tests.fakes.wire import Request, WireServer, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime
    from random import Random
    from ssl import SSLContext

REGION: Final = "eu-central-1"
ACCOUNT: Final = "123456789012"
BUS: Final = "failures"
KEY: Final = Key("AKIAPLANTED000000001", "planted/secret+key/0001")
TARGET: Final = "AWSEvents."
SQS_TARGET: Final = "AmazonSQS."
CROSS_REGION: Final = "Cross-region API call is not allowed."
"""The reason by which AWS refuses the ARN of another region, from public bug reports."""


@dataclass(frozen=True)
class DeliveredEvent:
    """An event that reached a bus."""

    event_id: str
    entry: Mapping[str, Any]
    at: datetime
    request_index: int

    @property
    def detail(self) -> Any:
        return json.loads(self.entry["Detail"])


@dataclass(frozen=True)
class ServedRequest:
    """A request and its result. `status` is that before a fault, and `bus` the one in a DescribeEventBus request."""

    index: int
    operation: str
    fault: Fault | None
    status: int
    delivered: int
    bus: str = ""


class StrictEventBridge:
    """A server of EventBridge that records events and requests.

    `delivered` has the events that reached a bus in order, whatever the response; `dropped` has the events that were
    accepted for a bus that does not exist; `served` has all requests.

    `buses`, `keys`, `roles` (ARN to external id) and `denied` (operations) may be changed at any time.
    """

    def __init__(
        self,
        *,
        buses: Collection[str] = ("default", BUS),
        key: Key = KEY,
        region: str = REGION,
        account: str = ACCOUNT,
        max_request_bytes: int = put_events.MAX_REQUEST_BYTES,
        now: Callable[[], datetime] = utc_now,
        port: int = 0,
        tls: SSLContext | None = None,
    ) -> None:
        self.buses, self.region, self.account = set(buses), region, account
        self.keys = {key.id: key}
        self.roles: dict[str, str | None] = {}
        self.denied: set[str] = set()
        self.max_request_bytes, self.now = max_request_bytes, now
        self.delivered: list[DeliveredEvent] = []
        self.dropped: list[DeliveredEvent] = []
        self.served: list[ServedRequest] = []
        self._fault_plan: FaultPlan[Fault] = FaultPlan()
        self._server = WireServer(
            self._handle,
            screen=self._screen,
            counts=lambda request: operation_of(request) == "PutEvents",
            now=now,
            port=port,
            tls=tls,
        )
        self.wait_until = self._server.wait_until
        self.always = self._fault_plan.always
        self.clear = self._fault_plan.clear

    @property
    def url(self) -> str:
        """Return the `endpoint_url` of `events`, `sts` and `sqs`."""
        return self._server.url

    @property
    def max_in_flight(self) -> int:
        """Return the maximum number of concurrent `PutEvents` requests."""
        return self._server.max_in_flight

    def bus_arn(self, name: str = BUS) -> str:
        return f"arn:aws:events:{self.region}:{self.account}:event-bus/{name}"

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.__exit__(*raised)

    def next(self, *faults: Fault, operation: str = "PutEvents") -> None:
        """Queue one fault for each of the next requests of this operation. `STS` and `SQS` stand for all of theirs."""
        self._fault_plan.next(*faults, when=lambda request: operation_of(request) == operation)

    def chaos(self, draw: Random, rates: Mapping[str, float]) -> None:
        """Apply faults of `bus_faults.CHAOS` to `PutEvents` requests, at these rates from 0 to 1 by name."""
        names, weights = [*rates, ""], [*rates.values(), 1 - sum(rates.values())]

        def rule(request: Request) -> Fault | None:
            if operation_of(request) != "PutEvents":
                return None
            name = draw.choices(names, weights)[0]
            return CHAOS[name](draw) if name else None

        self.always(rule)

    def _screen(self, request: Request) -> Action | None:
        request.fault = fault = self._fault_plan.pick(request)
        if fault is None or not fault.early:
            return None
        self.served.append(ServedRequest(request.index, operation_of(request), fault, 0, 0))
        return fault.spoil(HttpResponse())

    def _handle(self, request: Request) -> Action:
        operation = operation_of(request)
        fault = request.fault if isinstance(request.fault, Fault) else None
        before = len(self.delivered)
        match operation:
            case "STS":
                answer = self._sts(request)
            case "SQS":
                answer = self._sqs(request)
            case _:
                answer = self._events(operation, request, fault)
        delivered = len(self.delivered) - before
        parameters = json.loads(request.body).get("Name", "default") if operation == "DescribeEventBus" else ""
        self.served.append(ServedRequest(request.index, operation, fault, answer.status, delivered, parameters))
        return answer if fault is None or answer.status != 200 else fault.spoil(answer)

    def _events(self, operation: str, request: Request, fault: Fault | None) -> HttpResponse:
        try:
            key = verify(request, self.keys, service="events", region=self.region, now=self.now())
        except SignatureError as error:
            status, code, _, _ = error.reason.value
            return refusal(status, code, error.message)
        if operation in self.denied:
            message = f"User: {key.arn} is not authorized to perform: events:{operation}"
            return refusal(400, "AccessDeniedException", message)
        content = json.loads(request.body)
        match operation:
            case "PutEvents":
                return self._put_events(content, request, fault)
            case "DescribeEventBus":
                return self._describe(content)
            case "PutRule":
                return self._put_rule(content)
            case _:
                return refusal(400, "UnknownOperationException", "")

    def _put_events(self, content: Any, request: Request, fault: Fault | None) -> HttpResponse:
        if refused := put_events.request_refusal(content, max_request_bytes=self.max_request_bytes):
            return refusal(400, refused.code, refused.message)
        if any(self._is_of_another_region(entry.get("EventBusName", "default")) for entry in content["Entries"]):
            return refusal(400, "ValidationException", CROSS_REGION)
        codes, delivers = (fault.codes, fault.delivered) if fault else ({}, True)
        results = []
        for index, entry in enumerate(content["Entries"]):
            refused = put_events.refusal_of_code(codes[index]) if index in codes else put_events.entry_refusal(entry)
            if refused:
                message = (fault.message if fault else "") or refused.message
                results.append({"ErrorCode": refused.code, "ErrorMessage": message})
                continue
            event = DeliveredEvent(event_id(request, index), entry, self.now(), request.index)
            results.append({"EventId": event.event_id})
            if delivers:
                known = self._bus(entry.get("EventBusName", "default"))
                (self.delivered if known else self.dropped).append(event)
        return ok({"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results})

    def _describe(self, content: Any) -> HttpResponse:
        name_or_arn = content.get("Name", "default")
        if self._is_of_another_region(name_or_arn):
            return refusal(400, "ValidationException", CROSS_REGION)
        if not (name := self._bus(name_or_arn)):
            return refusal(400, "ResourceNotFoundException", f"Event bus {name_or_arn} does not exist.")
        return ok({"Name": name, "Arn": self.bus_arn(name)})

    def _is_of_another_region(self, name_or_arn: str) -> bool:
        return name_or_arn.startswith("arn:") and name_or_arn.split(":")[3] != self.region

    def _put_rule(self, content: Any) -> HttpResponse:
        name_or_arn = content.get("EventBusName", "default")
        if not (bus := self._bus(name_or_arn)):
            return refusal(400, "ResourceNotFoundException", f"Event bus {name_or_arn} does not exist.")
        rule_path = content["Name"] if bus == "default" else f"{bus}/{content['Name']}"
        return ok({"RuleArn": f"arn:aws:events:{self.region}:{self.account}:rule/{rule_path}"})

    def _bus(self, name_or_arn: str) -> str | None:
        """Return the name of the bus with this name or ARN, or None if it does not exist."""
        name = name_or_arn.removeprefix(self.bus_arn(""))
        return name if name in self.buses else None

    def _sts(self, request: Request) -> HttpResponse:
        try:
            key = verify(request, self.keys, service="sts", region=None, now=self.now())
        except SignatureError as error:
            _, _, status, code = error.reason.value
            return sts.error(status, code, error.message)
        parameters = dict(parse_qsl(request.body.decode()))
        match parameters.get("Action"):
            case "GetCallerIdentity":
                return sts.caller_identity(key, self.account)
            case "AssumeRole":
                return self._assume_role(key, parameters)
        return sts.error(400, "InvalidAction", "Could not find operation")

    def _sqs(self, request: Request) -> HttpResponse:
        try:
            verify(request, self.keys, service="sqs", region=self.region, now=self.now())
        except SignatureError as error:
            status, code, _, _ = error.reason.value
            return refusal(status, code, error.message)
        return refusal(400, "com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")

    def _assume_role(self, key: Key, parameters: dict[str, str]) -> HttpResponse:
        arn = parameters["RoleArn"]
        if arn not in self.roles or self.roles[arn] not in {None, parameters.get("ExternalId")}:
            message = f"User: {key.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
            return sts.error(403, "AccessDenied", message)
        seconds = int(parameters.get("DurationSeconds", sts.DEFAULT_SESSION_SECONDS))
        if seconds < sts.MIN_SESSION_SECONDS:
            return sts.error(400, "ValidationError", "DurationSeconds must be at least 900.")
        session = sts.role_key(arn, parameters["RoleSessionName"], seconds, number=len(self.keys), now=self.now())
        self.keys[session.id] = session
        return sts.assumed_role(session)


def operation_of(request: Request) -> str:
    """Return the operation, `SQS` for all of its operations, or `STS`, which names its action in the body only."""
    target = request.headers.get("x-amz-target", "")
    if target.startswith(SQS_TARGET):
        return "SQS"
    return target.removeprefix(TARGET) if target.startswith(TARGET) else "STS"


def event_id(request: Request, index: int) -> str:
    return f"{request.index:08x}-0000-4000-8000-{index:012x}"


def ok(content: dict[str, Any]) -> HttpResponse:
    return HttpResponse(200, JSON_HEADERS, json.dumps(content).encode())
