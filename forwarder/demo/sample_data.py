"""The sample executions, in every documented variant, with each sign of a failure.

The sample response of the product page is kept next to this module, byte for byte. The documentation shows no failed
execution, so each failure here has exactly one of the possible signs.
"""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from typing import Any, Final, Literal, TypeAlias, get_args

from forwarder.time_format import rfc3339

Variant: TypeAlias = Literal["product-page", "2024-03", "2025-09"]
Failure: TypeAlias = Literal[
    "failed-status",
    "failed-error-object",
    "failed-error-string",
    "failed-block",
    "failed-message",
    "unfinished",
]
Outcome: TypeAlias = Literal["success", "running"] | Failure

VARIANTS: Final[tuple[Variant, ...]] = get_args(Variant)
FAILURES: Final[tuple[Failure, ...]] = get_args(Failure)

FAILURE_STATUSES: Final = frozenset({"error", "errored", "failed", "failure", "crashed", "timeout", "timed_out"})
SUCCESS_STATUSES: Final = frozenset({"success", "succeeded", "completed"})
BLOCK_IDS: Final = ("f2eb053c-d04a-1a6c-8cd1-dbd6b8d016d0", "9b1c5e0a-3f1d-4c55-8d0e-6a2f7c1b9d34")
PROBLEM: Final = "Request failed with status code 422: sku is not known to the warehouse"


def product_page_sample() -> bytes:
    """Return the sample response of the product page "Managing Errors", byte for byte."""
    return files("forwarder.demo").joinpath("sample_response.json").read_bytes()


def product_page_record() -> bytes:
    """Return the only execution in the sample of the product page, byte for byte."""
    sample = product_page_sample()
    return sample[sample.index(b"[") + 1 : sample.rindex(b"]")].strip()


def execution(
    outcome: Outcome,
    *,
    id: str,  # noqa: A002 - the name in the API
    started: datetime,
    stopped: datetime | None = None,
    variant: Variant = "2024-03",
    payload: object = None,
) -> dict[str, Any]:
    """Return an execution. `payload` is the output of its first block, by default a customer's order.

    A running execution has no stop time. The default stop time of others is their start time.
    """
    stop = None if outcome == "running" else stopped or started
    blocks = [_block(variant, number, started, stop) for number in range(2)]
    blocks[0]["data"] = _data(variant, customer_order(id) if payload is None else payload)
    record: dict[str, Any] = {"executionId": id, "startedAt": rfc3339(started)}
    if stop is not None:
        record["completedAt" if variant == "2025-09" else "stoppedAt"] = rfc3339(stop)
    record |= _status_fields(outcome, variant)
    if variant != "product-page":
        record["inputs"] = [{_block_id_field(variant): BLOCK_IDS[0], "data": {"brandValue": "Order Placed"}}]
    if outcome == "failed-block":
        blocks[1]["error"] = error_object(blocks[1][_block_id_field(variant)])
    return record | {"results": blocks}


def is_failed_record(record: dict[str, Any]) -> bool:
    """Return whether a listed execution failed. This is independent of the forwarder's own classification.

    The blocks decide only if the execution has stopped and its own fields do not.
    """
    status = str(record.get("status", "")).lower()
    if status in FAILURE_STATUSES or record.get("error") or record.get("message") == "executionError":
        return True
    if not (record.get("stoppedAt") or record.get("completedAt")) or status in SUCCESS_STATUSES:
        return False
    if any(isinstance(block, dict) and block.get("error") for block in record.get("results") or ()):
        return True
    return record.get("finished") is False


def error_object(block_id: str) -> dict[str, Any]:
    return {
        "name": "AxiosError",
        "message": PROBLEM,
        "code": "ERR_BAD_REQUEST",
        "blockId": block_id,
        "stack": f"AxiosError: {PROBLEM}\n    at settle (/app/node_modules/axios/lib/core/settle.js:19:12)",
    }


def customer_order(id: str) -> dict[str, Any]:  # noqa: A002 - the name in the API
    """Return the output of a webhook block: a request with credentials in its headers and personal data in its body."""
    return {
        "headers": {
            "host": "embedded.runalloy.com",
            "authorization": "Bearer demo.customer.token-4f9c1e7a2b",
            "cookie": "session=demo-session-77ab21",
            "x-forwarded-for": "203.0.113.70",
            "x-real-ip": "203.0.113.70",
            "x-request-id": "0a2253180d67dd23f96d81f49bac",
            "user-agent": "Shop/7.28.4",
        },
        "params": {"callback": "https://shop:demo-hunter2@shop.example/hook?api_key=demo-api-key-31337&page=1"},
        "body": {
            "order": {
                "number": f"ORDER-{id}",
                "currency": "EUR",
                "total": "149.90",
                "customer": {"name": "Zoë Ångström", "email": "zoe@shop.example", "phone": "+49 30 5550100"},
                "shippingAddress": {
                    "street": "Große Straße 1",
                    "city": "Köln",
                    "zip": "50667",
                    "country": "DE",
                },
                "lineItems": [
                    {"sku": "TEA-001", "title": "Earl Grey 🫖", "quantity": 2, "price": "24.95"},
                    {"sku": "CUP-017", "title": "Cup, blue", "quantity": 4, "price": "25.00"},
                ],
            }
        },
    }


def _status_fields(outcome: Outcome, variant: Variant) -> dict[str, Any]:
    """Return the status fields of an execution. A `failed-block` execution has none; only its block has an error."""
    named = variant == "product-page"  # the one variant that documents a `status`
    status_fields: dict[Outcome, dict[str, Any]] = {
        "success": {"status": "success"} if named else {"finished": True},
        "running": {"status": "running"} if named else {"finished": False},
        "failed-status": {"status": "failed"},
        "failed-error-object": {"error": error_object(BLOCK_IDS[1])},
        "failed-error-string": {"error": PROBLEM},
        "failed-block": {},
        "failed-message": {"message": "executionError"},
        "unfinished": {"finished": False},
    }
    return status_fields[outcome]


def _block_id_field(variant: Variant) -> str:
    return "connectorId" if variant == "2025-09" else "blockId"


def _block(variant: Variant, number: int, started: datetime, stopped: datetime | None) -> dict[str, Any]:
    block: dict[str, Any] = {_block_id_field(variant): BLOCK_IDS[number], "startedAt": rfc3339(started)}
    if stopped is not None:
        block["stoppedAt"] = rfc3339(stopped)
    return block | {"data": [], "id": f"0ab1892{number}-d28e-443b-a03b-20efbedc4c5{number}"}


def _data(variant: Variant, payload: object) -> list[Any]:
    match variant:
        case "product-page":
            return [{"json": payload, "meta": {"content-type": "application/json"}}]
        case "2024-03":
            return [[{"json": payload, "id": "0"}]]
        case "2025-09":
            return [[[{"json": payload, "id": "0"}, {"json": None, "id": "1"}]]]
