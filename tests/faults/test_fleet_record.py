"""The record of a place of the fleet soak keeps what its proxy received, and the delays of its process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from forwarder.ledger.dynamodb.schema import MEMBERS
from tests.faults.fleet_delays import DelayMeter
from tests.faults.fleet_record import TABLE_FAULT, Record
from tests.harness.dynamodb_faults import LOSE_REQUEST, PASS, Request


def test_record_keeps_heartbeats_and_burials_that_were_written() -> None:
    record = Record("process-0", run=1)
    _exchange(record, "PutItem", {"Item": _key("aa")})
    for number, status in [(1, 200), (2, 400), (2, 200), (2, 200)]:
        _exchange(record, "UpdateItem", _update("aa", "SET mk = :mk, be = :be", be={"N": str(number)}), status)
    _exchange(record, "UpdateItem", _update("cc", "SET heir = :heir", heir={"S": "aa"}), 400)
    _exchange(record, "UpdateItem", _update("dd", "SET heir = :heir", heir={"S": "aa"}))
    (member,) = record.memberships
    assert [each.number for each in member.heartbeats] == [1, 2]
    assert [(each.member, each.heir) for each in record.take_overs] == [("dd", "aa")]


def test_record_keeps_faults_of_heartbeats_only() -> None:
    record = Record("process-0", run=1)
    for key in (_key("aa"), {"p": {"S": "x#1"}, "s": {"S": "x"}}):
        record.observe_arrival(Request(1, "PutItem", json.dumps({"Item": key}).encode()), LOSE_REQUEST)
    assert [each.kind for each in record.disturbances] == [TABLE_FAULT]


def test_delay_between_two_times_has_both_measurements_around() -> None:
    meter = DelayMeter(lambda: None)
    for at, seconds in [(1.0, 0.5), (2.0, 0.1), (3.0, 0.2), (4.0, 0.4)]:
        meter.add(at, seconds)
    assert meter.between(2.5, 2.6) == pytest.approx(0.2)
    assert meter.between(0.0, 9.0) == pytest.approx(1.2)


def _exchange(record: Record, operation: str, values: dict[str, Any], status: int = 200) -> None:
    request = Request(1, operation, json.dumps(values).encode())
    record.observe_arrival(request, PASS)
    record.observe_reply(request, status)


def _key(member: str) -> dict[str, dict[str, str]]:
    return {"p": {"S": MEMBERS}, "s": {"S": member}}


def _update(member: str, changes: str, **values: dict[str, str]) -> dict[str, Any]:
    new = {f":{name}": value for name, value in values.items()}
    return {"Key": _key(member), "UpdateExpression": changes, "ExpressionAttributeValues": new}
