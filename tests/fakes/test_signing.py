"""The verification of signatures refuses every request that changed after signing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.eventbridge import KEY, REGION
from tests.fakes.signing import STAMP, Key, SignatureError, SignatureFault, verify
from tests.fakes.wire import Request, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = b'{"Entries": []}'
HOST = "127.0.0.1:8000"


def signed(key: Key = KEY, *, service: str = "events", region: str = REGION) -> Request:
    """Return a request that the SDK signs now."""
    request = AWSRequest("POST", f"http://{HOST}/", headers={"Host": HOST, "X-Amz-Target": "AWSEvents.X"}, data=BODY)
    SigV4Auth(Credentials(key.id, key.secret, key.token), service, region).add_auth(request)
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    return Request(0, "POST", "/", headers, utc_now(), BODY)


def reason(
    request: Request, *, now: datetime | None = None, keys: dict[str, Key] | None = None
) -> SignatureFault | None:
    try:
        verify(request, keys or {KEY.id: KEY}, service="events", region=REGION, now=now or utc_now())
    except SignatureError as refusal:
        return refusal.reason
    return None


def with_headers(request: Request, **headers: str) -> Request:
    return replace(request, headers={**request.headers, **{name.replace("_", "-"): headers[name] for name in headers}})


def test_signature_of_the_sdk_is_accepted() -> None:
    assert reason(signed()) is None


def flipped(request: Request) -> Request:
    header = request.headers["authorization"]
    return with_headers(request, authorization=header[:-1] + ("0" if header[-1] != "0" else "1"))


def without(name: str) -> Callable[[Request], Request]:
    return lambda request: replace(
        request, headers={key: value for key, value in request.headers.items() if key != name}
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda request: replace(request, body=BODY + b" "), SignatureFault.SIGNATURE),
        (lambda request: replace(request, target="/?x=1"), SignatureFault.SIGNATURE),
        (lambda request: replace(request, method="PUT"), SignatureFault.SIGNATURE),
        (lambda request: with_headers(request, x_amz_target="AWSEvents.Y"), SignatureFault.SIGNATURE),
        (lambda request: with_headers(request, host="elsewhere:8000"), SignatureFault.SIGNATURE),
        (
            lambda request: with_headers(request, x_amz_date=(utc_now() + timedelta(seconds=90)).strftime(STAMP)),
            SignatureFault.SIGNATURE,
        ),
        (flipped, SignatureFault.SIGNATURE),
        (without("authorization"), SignatureFault.MISSING),
        (without("x-amz-date"), SignatureFault.INCOMPLETE),
        (lambda request: with_headers(request, authorization="Bearer x"), SignatureFault.INCOMPLETE),
        (lambda request: with_headers(request, x_amz_security_token="t"), SignatureFault.UNKNOWN_KEY),
        (lambda _: signed(service="sts"), SignatureFault.SIGNATURE),
        (lambda _: signed(region="us-east-1"), SignatureFault.SIGNATURE),
        (lambda _: signed(replace(KEY, secret="other")), SignatureFault.SIGNATURE),
        (lambda _: signed(replace(KEY, id="AKIAOTHER")), SignatureFault.UNKNOWN_KEY),
    ],
)
def test_change_after_signing_is_refused(change: Callable[[Request], Request], expected: SignatureFault) -> None:
    assert reason(change(signed())) is expected


@pytest.mark.parametrize(("minutes", "is_accepted"), [(-5.1, False), (-4.9, True), (4.9, True), (5.1, False)])
def test_signature_is_valid_for_five_minutes_each_way(minutes: float, is_accepted: bool) -> None:
    actual = reason(signed(), now=datetime.now(UTC) + timedelta(minutes=minutes))
    assert actual is (None if is_accepted else SignatureFault.SIGNATURE)


def test_session_is_valid_until_its_expiry() -> None:
    lent = Key("ASIALENT", "secret", "token", utc_now() + timedelta(minutes=1))
    keys = {lent.id: lent}
    assert reason(signed(lent), keys=keys) is None
    assert reason(signed(lent), keys=keys, now=utc_now() + timedelta(minutes=2)) is SignatureFault.EXPIRED_TOKEN
    assert reason(signed(replace(lent, token="other")), keys=keys) is SignatureFault.UNKNOWN_KEY
