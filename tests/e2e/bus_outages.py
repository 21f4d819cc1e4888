"""Outages of the bus, and their repairs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.e2e.harness import publishing
from tests.fakes.bus_faults import bare, entry_codes, html, refused, unavailable
from tests.fakes.eventbridge import BUS, CROSS_REGION, KEY, StrictEventBridge, operation_of
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now

Change = Callable[[StrictEventBridge], None]


def remove_bus(bus: StrictEventBridge) -> None:
    bus.buses.discard(BUS)


def restore_bus(bus: StrictEventBridge) -> None:
    bus.buses.add(BUS)


def remove_keys(bus: StrictEventBridge) -> None:
    bus.keys = {}


def expire_keys(bus: StrictEventBridge) -> None:
    bus.keys = {KEY.id: Key(KEY.id, KEY.secret, expires_at=utc_now() - timedelta(hours=1))}


def restore_keys(bus: StrictEventBridge) -> None:
    bus.keys = {KEY.id: KEY}


def advance_clock(bus: StrictEventBridge) -> None:
    bus.now = lambda: utc_now() + timedelta(minutes=20)


def restore_clock(bus: StrictEventBridge) -> None:
    bus.now = utc_now


def deny_put_events(bus: StrictEventBridge) -> None:
    bus.denied.add("PutEvents")


def allow_put_events(bus: StrictEventBridge) -> None:
    bus.denied.clear()


def deny_entries(bus: StrictEventBridge) -> None:
    bus.always(publishing(entry_codes(dict.fromkeys(range(10), "AccessDeniedException"))))


def deny_source(bus: StrictEventBridge) -> None:
    bus.always(publishing(entry_codes(dict.fromkeys(range(10), "NotAuthorizedForSourceException"))))


def refuse_describe(bus: StrictEventBridge) -> None:
    fault = refused(400, "ValidationException", CROSS_REGION)
    bus.always(lambda request: fault if operation_of(request) == "DescribeEventBus" else None)


def refuse_bus_name(bus: StrictEventBridge) -> None:
    message = "1 validation error detected: Value at 'entries.1.member.eventBusName' failed to satisfy constraint"
    bus.always(publishing(refused(400, "ValidationException", message)))


def refuse_as_too_large(bus: StrictEventBridge) -> None:
    bus.always(publishing(bare(413)))


def respond_with_503(bus: StrictEventBridge) -> None:
    bus.always(lambda _: unavailable())


def respond_with_proxy_page(bus: StrictEventBridge) -> None:
    bus.always(lambda _: html(502, delivered=False))


def clear_faults(bus: StrictEventBridge) -> None:
    bus.clear()


# Each row: a function that breaks the bus, the exit code of `once`, a word in its error, a function that repairs it.
OUTAGES: list[tuple[Change, int, str, Change]] = [
    (remove_bus, 69, "event_bus", restore_bus),
    (remove_keys, 77, "keys", restore_keys),
    (expire_keys, 77, "keys", restore_keys),
    (advance_clock, 77, "clock", restore_clock),
    (deny_put_events, 77, "PutEvents", allow_put_events),
    (deny_entries, 77, "AccessDeniedException", clear_faults),
    (deny_source, 77, "NotAuthorizedForSourceException", clear_faults),
    (refuse_describe, 69, "Cross-region", clear_faults),
    (refuse_bus_name, 69, "eventBusName", clear_faults),
    (refuse_as_too_large, 69, "413", clear_faults),
]
