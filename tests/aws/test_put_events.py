"""The PutEvents client: it signs like the SDK, and sends each request once."""

import datetime as dt
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from forwarder.aws.eventbridge import Event
from forwarder.aws.put_events import PutEventsClient
from forwarder.aws.responses import RequestRefusal, put_events_error
from forwarder.aws.sigv4 import CONTENT_TYPE, TARGET, Signer
from forwarder.errors import DestinationRefused, DestinationUnavailable
from forwarder.model import Accepted, Unknown
from tests.aws.harness import delivered, events, open_bus, served
from tests.factories import examples
from tests.fakes.actions import Action, HttpResponse, Line, Raw
from tests.fakes.bus_faults import Fault
from tests.fakes.certificates import self_signed
from tests.fakes.eventbridge import KEY, REGION, StrictEventBridge
from tests.fakes.wire import WireServer
from tests.virtual_clock import NOON

KEYS = ReadOnlyCredentials(KEY.id, KEY.secret, None, None)
ENTRIES = [{"Source": "alloy.embedded", "Detail": "{}"}]
ACCEPTED = HttpResponse(200, {}, b'{"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}')


@asynccontextmanager
async def open_client(url: str, **options: Any) -> AsyncIterator[PutEventsClient]:
    async with PutEventsClient(url, REGION, seconds=1, connections=2, **options) as client:
        yield client


secrets = st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=60)
tokens = st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=200)
hosts = st.sampled_from(["events.eu-west-1.amazonaws.com", "Vpce-1.Events.example", "127.0.0.1", "[::1]", "localhost"])
ports = st.sampled_from(["", ":80", ":443", ":4566"])
paths = st.text("/abc.-_~%20é+&=", max_size=20).map(lambda text: f"/{text}" if text else "")
queries = st.sampled_from(["", "?", "?b=2&a=1", "?a", "?a=1&a=0"])
urls = st.builds(
    str.__add__, st.builds("{}://{}{}{}".format, st.sampled_from(["http", "https"]), hosts, ports, paths), queries
)
seconds = st.integers(0, 4_102_444_800)


@given(
    urls, st.sampled_from(["eu-west-1", "us-gov-east-1"]), secrets, secrets, tokens, st.binary(max_size=200), seconds
)
@examples(300)
def test_signature_is_equal_to_the_sdk(
    url: str, region: str, key: str, secret: str, token: str | None, body: bytes, at: int
) -> None:
    headers = Signer(url, region).headers(ReadOnlyCredentials(key, secret, token, None), body, at)
    signer = SigV4Auth(Credentials(key, secret, token), "events", region)
    request = AWSRequest("POST", url, {"Content-Type": CONTENT_TYPE, "X-Amz-Target": TARGET}, body)
    stamp = dt.datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = request.headers["X-Amz-Date"] = stamp
    if token:
        request.headers["X-Amz-Security-Token"] = token
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    signer._inject_signature_to_request(request, signature)  # noqa: SLF001  # `add_auth` uses the current time
    assert headers.pop("host") == signer.headers_to_sign(request)["host"]
    assert headers == {name.lower(): value for name, value in request.headers.items()}


def test_signing_context_is_bound_to_key_and_second() -> None:
    signer = Signer("https://events.eu-west-1.amazonaws.com", "eu-west-1")
    others = [ReadOnlyCredentials("A", "1", None, None), ReadOnlyCredentials("A", "2", None, None), KEYS]
    requests = [(keys, at) for at in (0, 86_400, 86_401) for keys in others] * 2
    signatures = [signer.headers(keys, b"{}", at)["authorization"] for keys, at in requests]
    fresh = [Signer("https://events.eu-west-1.amazonaws.com", "eu-west-1") for _ in requests]
    assert signatures == [
        new.headers(keys, b"{}", at)["authorization"] for new, (keys, at) in zip(fresh, requests, strict=True)
    ]
    assert len(set(signatures)) == len(requests) / 2


def test_signer_contains_no_secret_key() -> None:
    signer = Signer("https://events.eu-west-1.amazonaws.com", "eu-west-1")
    signer.headers(KEYS, b"{}", 0)
    assert KEY.secret not in f"{vars(signer)}"


async def test_any_detail_is_delivered_unchanged(bridge: StrictEventBridge) -> None:
    texts = ['"', "\\", '\\\\"', "é", "😀", "\u2028", "\x7f", "\n\t\x01", "</script>", "x" * 1000]
    details = [msgspec.json.encode({"executionId": text}) for text in texts]
    async with open_bus(bridge) as bus:
        await bus.publish([Event("alloy.embedded", "Échec", NOON, detail) for detail in details])
    assert [event.entry["Detail"].encode() for event in bridge.delivered] == details
    assert [event.detail["executionId"] for event in bridge.delivered] == texts
    assert {(event.entry["DetailType"], event.entry["Time"]) for event in bridge.delivered} == {
        ("Échec", int(NOON.timestamp()))
    }


async def test_request_over_one_mebibyte_of_json_is_sent(bridge: StrictEventBridge) -> None:
    """The limit applies to the details, not to the body, in which quotes are escaped."""
    detail = msgspec.json.encode({"executionId": "a", "quotes": ["'\"" * 20_000]})
    async with open_bus(bridge, timeout="10s") as bus:
        result = await bus.publish([Event("alloy.embedded", "Failed", NOON, detail)] * 10)
    assert not isinstance(result, RequestRefusal)
    assert [type(outcome) for outcome in result.outcomes] == [Accepted] * 10
    assert delivered(bridge) == "a" * 10


async def test_invalid_utf8_detail_is_never_sent(bridge: StrictEventBridge) -> None:
    async with open_bus(bridge) as bus:
        with pytest.raises(ValueError, match="utf-8"):
            await bus.publish([Event("alloy.embedded", "Failed", NOON, b'{"\xff":1}')])
    assert served(bridge).count("PutEvents") == 0


class ResponseThenClose(Action):
    """The correct response, then an orderly close that no header announced."""

    def __init__(self, response: HttpResponse) -> None:
        self._response = response

    async def perform(self, line: Line) -> bool:
        await self._response.perform(line)
        return False


async def test_closed_idle_connection_sends_no_request_twice(
    bridge: StrictEventBridge,
) -> None:
    bridge.always(lambda request: Fault("last", delivered=True, spoil=ResponseThenClose) if request.index else None)
    async with open_bus(bridge) as bus:
        results = [await bus.publish(events(each)) for each in "abcdefgh"]
    outcomes = [result.outcomes[0] for result in results if not isinstance(result, RequestRefusal)]
    assert all(isinstance(outcome, (Accepted, Unknown)) for outcome in outcomes)
    accepted = "".join(
        each for each, outcome in zip("abcdefgh", outcomes, strict=True) if isinstance(outcome, Accepted)
    )
    assert delivered(bridge) == accepted
    assert served(bridge).count("PutEvents") == len(accepted)


EVENTS = '{{"FailedEntryCount": 0, "Entries": [{{"EventId": "{}"}}]}}'


def raw_response(status: str, event_id: str = "") -> bytes:
    body = EVENTS.format(event_id).encode() if event_id else b""
    length = b"Content-Length: %d\r\n" % len(body) if event_id else b""
    return b"HTTP/1.1 %b\r\n%b\r\n%b" % (status.encode(), length, body)


async def test_interim_responses_are_skipped() -> None:
    responses = raw_response("100 Continue") + raw_response("103 Early Hints") + raw_response("200 OK", "e")
    with WireServer(lambda _: Raw(responses)) as server:
        async with open_client(server.url) as client:
            assert (await client.put_events(KEYS, ENTRIES))["Entries"] == [{"EventId": "e"}]


class RawKeptOpen(Raw):
    """Bytes on a connection that stays open."""

    async def perform(self, line: Line) -> bool:
        await super().perform(line)
        return True


async def test_extra_bytes_are_no_response_to_the_next_request() -> None:
    with WireServer(
        lambda request: RawKeptOpen(raw_response("200 OK", f"{request.index}") + raw_response("200 OK", "stray"))
    ) as server:
        async with open_client(server.url) as client:
            event_ids = [(await client.put_events(KEYS, ENTRIES))["Entries"][0]["EventId"] for _ in range(3)]
    assert event_ids == ["0", "1", "2"]


@pytest.mark.parametrize("trust", ["bundle", "REQUESTS_CA_BUNDLE", "none", "another host"])
async def test_untrusted_certificate_gets_no_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trust: str
) -> None:
    certificate = self_signed(tmp_path)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if trust == "REQUESTS_CA_BUNDLE":
        monkeypatch.setenv(trust, str(certificate.file))
    bundle = str(certificate.file) if trust in ("bundle", "another host") else ""
    with WireServer(lambda _: ACCEPTED, tls=certificate.server) as server:
        url = server.url.replace("127.0.0.1", "localhost") if trust == "another host" else server.url
        async with open_client(url, bundle=bundle) as client:
            if trust in ("bundle", "REQUESTS_CA_BUNDLE"):
                assert (await client.put_events(KEYS, ENTRIES))["FailedEntryCount"] == 0
            else:
                with pytest.raises(Exception, match="certificate") as refused:
                    await client.put_events(KEYS, ENTRIES)
                assert isinstance(put_events_error(refused.value), DestinationUnavailable)
                assert server.count == 0


@pytest.mark.parametrize("content", ["", "no certificate"])
async def test_unreadable_ca_bundle_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "bundle.pem"
    if content:
        file.write_text(content)
    with pytest.raises(DestinationRefused, match=str(file)) as refused:
        async with open_client("https://127.0.0.1:9", bundle=str(file)):
            pass
    assert "AWS_CA_BUNDLE" in refused.value.hint
