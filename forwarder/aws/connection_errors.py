"""Connections to AWS that failed: whether a request can have arrived, and the cause that a person can fix."""

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ConnectTimeoutError,
    HTTPClientError,
    IncompleteReadError,
    ProxyConnectionError,
    SSLError,
)
from botocore.exceptions import ConnectionError as SdkConnectionError

from forwarder import network_errors
from forwarder.aws.http_session import CONNECT_ERRORS, NeverSent, ResponseUnreadable
from forwarder.errors import DestinationUnavailable

CA_VARIABLE = "AWS_CA_BUNDLE"


def was_never_sent(error: Exception) -> bool:
    """Return whether the error is one of the connect phase.

    A connection that ends while, or before, an answer comes may have carried the whole request, even if writing to it
    is what failed. EndpointConnectionError and HTTPClientError are raised for both: only the error beneath tells.
    """
    if isinstance(error, (ConnectTimeoutError, SSLError, ProxyConnectionError)):
        return True
    beneath = _beneath(error)
    return isinstance(error if beneath is None else beneath, (NeverSent, *CONNECT_ERRORS))


def unreachable(error: Exception, address: str) -> DestinationUnavailable:
    """Return the cause of a connection that was not made, with the variable or setting that fixes it.

    `address` is the URL of the bus. The SDK's errors name the address of another service by themselves.
    """
    named = str(error.kwargs.get("endpoint_url") or "") if isinstance(error, BotoCoreError) else ""
    host = network_errors.without_credentials(named or address)
    target = f"AWS at {host}" if host else "the bus"
    try:
        problem = network_errors.explain(error, target=target, ca_variable=CA_VARIABLE)
    except Exception:  # noqa: BLE001  # the text of some errors of aiohttp cannot be made
        problem = None
    if problem is not None:
        return DestinationUnavailable(problem.message, code="unreachable", hint=problem.hint)
    never_sent = next((each for each in (error, _beneath(error)) if isinstance(each, NeverSent)), None)
    if never_sent is not None and isinstance(never_sent.__cause__, aiohttp.ClientResponseError):
        # While it connects, aiohttp reads a response only from a proxy, to CONNECT.
        reason = "what listens at the address of the proxy answers CONNECT with something that is not HTTP"
        hint = "correct HTTPS_PROXY, or exempt this host with NO_PROXY"
    else:
        reason = words(error) if never_sent is None else f"no connection was made ({never_sent})"
        hint = "check the region, endpoint_url, the network and HTTPS_PROXY"
    return DestinationUnavailable(f"{target} cannot be reached: {reason}", code="unreachable", hint=hint)


def words(error: Exception) -> str:
    """Return the kind of failure, and of the one beneath. The SDK's messages hold addresses, which may hold more."""
    beneath = _beneath(error)
    if isinstance(beneath or error, ResponseUnreadable):
        return str(beneath or error)
    name = type(error).__name__
    return f"{name} ({type(beneath).__name__})" if beneath is not None else name


def _beneath(error: Exception) -> Exception | None:
    beneath = error.kwargs.get("error") if isinstance(error, (HTTPClientError, BotoCoreError)) else None
    return beneath if isinstance(beneath, Exception) else None


def is_of_a_response(error: BotoCoreError) -> bool:
    """Return whether the SDK raises this error with a request under way. It raises all others before it sends one."""
    return isinstance(error, (HTTPClientError, SdkConnectionError, IncompleteReadError))
