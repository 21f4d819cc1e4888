"""The records and pages of the logs API, in a given size."""

import json
from datetime import UTC, datetime, timedelta

from forwarder.demo.sample_data import Outcome, Variant, execution

NEWEST = datetime(2026, 11, 20, 12, tzinfo=UTC)
DURATION = timedelta(milliseconds=730)
MIN_ORDER_BYTES = 1700
"""The minimum size of a record with a customer's order in its first block."""

TITLES = ("Walnut desk organiser", "Earl Grey, 250 g", "Cup, blue", "Brass hook", "Linen shade", "Oak stool")


def record(
    execution_id: str, *, size: int, failed: bool, started: datetime = NEWEST, variant: Variant = "product-page"
) -> bytes:
    """Return an execution of about `size` bytes. Its first block holds a customer's order of the necessary length."""
    outcome: Outcome = "failed-block" if failed else "success"
    listed_record = execution(
        outcome,
        id=execution_id,
        started=started,
        stopped=started + DURATION,
        variant=variant,
        payload={} if size < MIN_ORDER_BYTES else None,
    )
    missing = size - len(encoded(listed_record))
    if missing > 0:
        lines = [line(number) for number in range(round(missing / (len(encoded(line(0))) + 1)))]
        listed_record["results"][1]["data"] = [{"json": {"lineItems": lines}}]
    return encoded(listed_record)


def page(records: int, *, size: int, failing: int, variant: Variant = "product-page") -> bytes:
    """Return a page, newest first, on which one in `failing` executions failed."""
    listed = [
        record(
            f"{number:06d}aa0cf1a3daa6c41b5-ef",
            size=size,
            failed=number % failing == failing // 2,
            started=NEWEST - number * timedelta(seconds=1),
            variant=variant,
        )
        for number in range(records)
    ]
    return b'{"data":[%b]}' % b",".join(listed)


def line(number: int) -> dict[str, object]:
    """Return a line of an order. Few lines are equal."""
    drawn = (number + 1) * 7919
    return {
        "sku": f"ORG-{drawn % 10_007:04d}",
        "title": TITLES[drawn % len(TITLES)],
        "quantity": 1 + drawn % 7,
        "price": f"{drawn % 9973 / 100:.2f}",
        "note": "left at the gate" if drawn % 3 else "to be called before",
    }


def encoded(value: object) -> bytes:
    """Encode JSON as JavaScript does, without spaces and with every character unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
