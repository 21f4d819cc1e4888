"""Records and pages as Alloy lists them, of a size that is asked for."""

import json
from datetime import UTC, datetime, timedelta

from forwarder.demo.sample_data import Outcome, Variant, execution

NEWEST = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOOK = timedelta(milliseconds=730)
WITH_AN_ORDER = 1700
"""Bytes that a record takes at least whose first block holds a customer's order."""

TITLES = ("Walnut desk organiser", "Earl Grey, 250 g", "Cup, blue", "Brass hook", "Linen shade", "Oak stool")


def record(
    execution_id: str, *, size: int, failed: bool, started: datetime = NEWEST, variant: Variant = "product-page"
) -> bytes:
    """One execution of about `size` bytes; a customer's order in its first block, as long as it takes."""
    outcome: Outcome = "failed-block" if failed else "success"
    told = execution(
        outcome,
        id=execution_id,
        started=started,
        stopped=started + TOOK,
        variant=variant,
        payload={} if size < WITH_AN_ORDER else None,
    )
    missing = size - len(encoded(told))
    if missing > 0:
        lines = [line(number) for number in range(round(missing / (len(encoded(line(0))) + 1)))]
        told["results"][1]["data"] = [{"json": {"lineItems": lines}}]
    return encoded(told)


def page(records: int, *, size: int, failing: int, variant: Variant = "product-page") -> bytes:
    """Newest first; one in `failing` failed."""
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
    """A line of an order, hardly ever the same as another."""
    drawn = (number + 1) * 7919
    return {
        "sku": f"ORG-{drawn % 10_007:04d}",
        "title": TITLES[drawn % len(TITLES)],
        "quantity": 1 + drawn % 7,
        "price": f"{drawn % 9973 / 100:.2f}",
        "note": "left at the door" if drawn % 3 else "to be called before",
    }


def encoded(value: object) -> bytes:
    """As JavaScript writes it: without spaces, and every character as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
