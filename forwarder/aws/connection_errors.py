"""The classification of failed connections to AWS: the possible arrival of the request, and a cause with a hint."""

import os

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ConnectTimeoutError,
    HTTPClientError,
    IncompleteReadError,
    InvalidConfigError,
    ProxyConnectionError,
    SSLError,
)
from botocore.exceptions import ConnectionError as SdkConnectionError

from forwarder import network_errors, tls_errors
from forwarder.aws.http_session import CONNECT_ERRORS, NeverSent, ResponseUnreadable
from forwarder.errors import DestinationRefused, DestinationUnavailable

CA_VARIABLE = "AWS_CA_BUNDLE"


def is_never_sent(error: Exception) -> bool:
    """Return whether the error was raised in the connect phase.

    A connection that ends later may have carried the whole request, even if a write failed. The SDK raises
    EndpointConnectionError and HTTPClientError in both cases, so their inner error decides.
    """
    if isinstance(error, (ConnectTimeoutError, SSLError, ProxyConnectionError)):
        return True
    cause = _cause(error)
    return isinstance(error if cause is None else cause, (NeverSent, *CONNECT_ERRORS))


def empty_bundle_error(error: Exception) -> DestinationRefused | None:
    """Return the error for a variable or a profile that names no file of trusted certificates, or None.

    The SDK makes no client with an empty name, whatever the service.
    """
    if not isinstance(error, InvalidConfigError) or "Invalid CA bundle" not in str(error):
        return None
    names = tls_errors.CA_VARIABLES[CA_VARIABLE]
    name = next((name for name in names if name in os.environ and not os.environ[name].strip()), "")
    return DestinationRefused(
        f"the trusted certificates for AWS cannot be read: {name or 'ca_bundle'} is empty",
        code="certificates",
        hint=f"unset {name}, which is empty" if name else "remove ca_bundle from the AWS profile, where it is empty",
    )


def unreachable_error(error: Exception, address: str) -> DestinationUnavailable:
    """Return the error for a connection that failed, with a hint that names the variable or setting to correct.

    `address` is the URL of the bus. It is used if the error of the SDK has no URL.
    """
    error_url = str(error.kwargs.get("endpoint_url") or "") if isinstance(error, BotoCoreError) else ""
    host = network_errors.without_credentials(error_url or address)
    target = f"AWS at {host}" if host else "the bus"
    try:
        problem = network_errors.explain(error, target=target, ca_variable=CA_VARIABLE)
    except Exception:  # noqa: BLE001  # str() fails for some errors of aiohttp
        problem = None
    if problem is not None:
        return DestinationUnavailable(problem.message, code="unreachable", hint=problem.hint)
    never_sent = next((each for each in (error, _cause(error)) if isinstance(each, NeverSent)), None)
    if never_sent is not None and isinstance(never_sent.__cause__, aiohttp.ClientResponseError):
        # In the connect phase, aiohttp reads only the response of a proxy to CONNECT.
        reason = "the server at the address of the proxy responds to CONNECT with something that is not HTTP"
        hint = "correct HTTPS_PROXY, or exempt this host with NO_PROXY"
    else:
        reason = describe_error(error) if never_sent is None else f"no connection was made ({never_sent})"
        hint = "check the region, endpoint_url, the network and HTTPS_PROXY"
    return DestinationUnavailable(f"{target} cannot be reached: {reason}", code="unreachable", hint=hint)


def describe_error(error: Exception) -> str:
    """Return a text without secrets: the message of ResponseUnreadable, else the classes of the error and its cause.

    Other messages are not used, because messages of the SDK contain URLs, which can hold secrets.
    """
    cause = _cause(error)
    if isinstance(cause or error, ResponseUnreadable):
        return str(cause or error)
    name = type(error).__name__
    return f"{name} ({type(cause).__name__})" if cause is not None else name


def _cause(error: Exception) -> Exception | None:
    cause = error.kwargs.get("error") if isinstance(error, (HTTPClientError, BotoCoreError)) else None
    return cause if isinstance(cause, Exception) else None


def is_response_error(error: BotoCoreError) -> bool:
    """Return whether the SDK may have started to send before it raised this error.

    The SDK raises all other errors before it starts to send.
    """
    return isinstance(error, (HTTPClientError, SdkConnectionError, IncompleteReadError))
