"""The table of responses: corner cases."""

from typing import Any

import aiohttp
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from hypothesis import given
from hypothesis import strategies as st

from forwarder.aws.responses import RequestRefusal, common_refusal, entry_outcome, is_valid_response, put_events_error
from forwarder.errors import BusUnverified, DestinationError, DestinationRefused, DestinationUnavailable
from forwarder.model import Accepted, Rejected, Retry, Unknown
from tests.factories import examples, texts, trees

URL = "https://events.eu-central-1.amazonaws.com/?planted-secret=1"


@pytest.mark.parametrize(
    ("entries", "is_valid"),
    [
        ([{"EventId": "a"}, {"ErrorCode": "X", "ErrorMessage": "m"}], True),
        ([{"EventId": "a"}], False),
        ([{"EventId": "a"}, {"EventId": "b"}, {"EventId": "c"}], False),
        ([{"EventId": "a"}, {}], False),
        ([{"EventId": "a"}, {"EventId": "b", "ErrorCode": "X"}], False),
        ([{"EventId": "a"}, {"EventId": ""}], False),
        ([{"EventId": "a"}, {"EventId": 7}], False),
        ([{"EventId": "a"}, None], False),
        (None, False),
        ("ab", False),
    ],
)
def test_response_is_valid_only_with_one_result_per_entry(entries: Any, is_valid: bool) -> None:
    assert is_valid_response({"FailedEntryCount": 0, "Entries": entries}, 2) == is_valid


@given(st.dictionaries(st.sampled_from(["Entries", "FailedEntryCount"]), trees | st.lists(trees)), st.integers(0, 3))
@examples(200)
def test_any_response_has_an_outcome(response: dict[str, Any], sent: int) -> None:
    if is_valid_response(response, sent):
        outcomes = [entry_outcome(entry) for entry in response["Entries"]]
        assert all(isinstance(outcome, (Accepted, Rejected, Retry)) for outcome in outcomes)


@given(texts, st.integers(0, 700), texts)
@examples(300)
def test_any_error_response_is_never_success(code: str, status: int, message: str) -> None:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert isinstance(put_events_error(ClientError(response, "PutEvents")), (DestinationError, RequestRefusal, Unknown))


def test_common_refusal_is_found_among_others() -> None:
    entries: list[Any] = [
        {"EventId": "a"},
        {"ErrorCode": "ThrottlingException"},
        {"ErrorCode": "NotAuthorizedForSourceException"},
    ]
    stop_error = common_refusal(entries)
    assert stop_error is not None
    assert (stop_error.code, bool(stop_error.hint)) == ("NotAuthorizedForSourceException", True)
    assert common_refusal(entries[:2]) is None


def connector_error() -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(None, OSError(111, "refused"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "exc_type"),
    [
        (NoCredentialsError(), DestinationRefused),
        (PartialCredentialsError(provider="p", cred_var="v"), DestinationRefused),
        (CredentialRetrievalError(provider="p", error_msg="m"), DestinationRefused),
        (ParamValidationError(report="r"), BusUnverified),
        (ConnectTimeoutError(endpoint_url=URL), DestinationUnavailable),
        (SSLError(endpoint_url=URL, error=OSError()), DestinationUnavailable),
        (EndpointConnectionError(endpoint_url=URL, error=connector_error()), DestinationUnavailable),
        (EndpointConnectionError(endpoint_url=URL, error=aiohttp.ClientOSError(104, "reset")), Unknown),
        (EndpointConnectionError(endpoint_url=URL), Unknown),
        (ConnectionClosedError(endpoint_url=URL), Unknown),
        (ReadTimeoutError(endpoint_url=URL), Unknown),
        (TimeoutError(), Unknown),
        (connector_error(), DestinationUnavailable),
        (aiohttp.ClientConnectorDNSError(None, OSError(-2, "no such name")), DestinationUnavailable),  # type: ignore[arg-type]
        (aiohttp.ConnectionTimeoutError(URL), DestinationUnavailable),
        (aiohttp.ClientHttpProxyError(None, (), status=407), DestinationUnavailable),  # type: ignore[arg-type]
        (aiohttp.SocketTimeoutError(URL), Unknown),
        (aiohttp.ClientOSError(104, "reset"), Unknown),
        (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), Unknown),
        (aiohttp.ServerDisconnectedError(), Unknown),
        (aiohttp.ClientPayloadError(), Unknown),
        (AttributeError("x"), Unknown),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), Unknown),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_error_is_never_sent_only_in_connect_phase(error: Exception, exc_type: type) -> None:
    failure = put_events_error(error)
    assert type(failure) is exc_type
    assert "planted-secret" not in f"{failure} {failure!r}"
