"""The meaning of a response's status and body, which the logs API or an intermediary such as a proxy has sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlsplit

import httpx

from forwarder.alloy.content import describe_content, is_json_document
from forwarder.errors import PageUnreadable, SourceError, SourceRefused, SourceUnavailable
from forwarder.untrusted_json import is_json

OK_STATUSES = (200, 203)
"""A proxy that changed a response may send 203 instead of 200 (RFC 9110, 15.3.4)."""

INTERMEDIARY_HINT = (
    "a proxy, firewall or login page may respond in its place: check [source] base_url, HTTPS_PROXY and NO_PROXY"
)

CACHE_STATUSES = (206, 304)
"""Responses to requests for a part, or for a change since a stored response. The forwarder sends neither."""

MAX_DIGITS = 15
MAX_SECONDS = 999_999_999.0
MAX_RESET_DAYS = 366
"""A number in Retry-After counts as a point in time if it is at most this far from today."""

CHECK_ADDRESS_HINT = "check [source] base_url, version and path_segment"


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response of the logs API, or of an intermediary, with its body decompressed.

    `HttpClient.request` returns it only if its status concerns this one request, such as 404.
    """

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)

    @property
    def date(self) -> datetime | None:
        return _parse_http_date(self.headers.get("date", ""))

    @property
    def content(self) -> str:
        """Return the kind of the body for a message, such as "an HTML page"."""
        return describe_content(self.body, self.headers.get("content-type", ""))

    @property
    def is_json(self) -> bool:
        if not self.body:
            return "json" in self.headers.get("content-type", "").lower()
        return is_json_document(self.body)


def require_ok(response: ApiResponse) -> None:
    """Raise PageUnreadable unless the status is a success and the body begins like JSON. The JSON may be broken."""
    if response.status not in OK_STATUSES:
        raise _unexpected_status(response)
    if response.body.startswith(b'{"'):
        return
    content = response.content
    if content == "JSON" or (content == "plain text" and is_json(response.body)):
        return
    if content in {"an empty body", "a blank body"}:
        hint = 'an empty page is {"data": []}; a proxy may have dropped the body'
    elif content.startswith("UTF-"):
        hint = "JSON must be sent in UTF-8"
    else:
        hint = INTERMEDIARY_HINT
    raise PageUnreadable(f"the logs API returned {response.status} with {content}, not JSON", hint=hint)


def error_for_status(response: ApiResponse) -> SourceError | None:
    """Return the error for a status that concerns all requests, such as 401 or 503, or None for any other status."""
    status = response.status
    if httpx.codes.is_server_error(status) or status in (408, 425):
        page = f" with {response.content}" if response.content == "an HTML page" else ""
        return SourceUnavailable(f"the logs API failed ({status}{page})")
    if status == 401 or (status == 403 and response.is_json):  # noqa: PLR2004  # the statuses of RFC 9110
        hint = "set it with `forwarder keys set alloy-api-key`"
        return SourceRefused(f"the logs API refuses the key ({status})", hint=hint)
    if status == 403:  # noqa: PLR2004  # as above
        return SourceUnavailable(
            f"something between here and the logs API returned {status} with {response.content}",
            hint=INTERMEDIARY_HINT,
        )
    if status == 407:  # noqa: PLR2004  # as above
        hint = "put the user name and the password into HTTP_PROXY: http://USER:PASSWORD@HOST"
        return SourceUnavailable(f"the proxy before the logs API requires credentials ({status})", hint=hint)
    if status == 451:  # noqa: PLR2004  # as above
        return SourceUnavailable(
            f"access to the logs API is blocked for legal reasons ({status})", hint=INTERMEDIARY_HINT
        )
    return None


def not_found_error(response: ApiResponse) -> PageUnreadable | None:
    """Return the error for a 404 of an intermediary, whose body is HTML or XML, or None for a 404 of the API."""
    if response.content not in {"an HTML page", "an XML document"}:
        return None
    hint = f"{CHECK_ADDRESS_HINT}; a proxy or firewall may respond in place of the logs API"
    return PageUnreadable(f"the logs API returned {response.status} with {response.content}", hint=hint)


def _unexpected_status(response: ApiResponse) -> PageUnreadable:
    status = response.status
    if status in CACHE_STATUSES:
        hint = "a cache before the logs API changes the requests: let it pass them on unchanged"
        return PageUnreadable(f"the logs API returned {status}", hint=hint)
    if httpx.codes.is_redirect(status):
        target = _redirect_host(response.headers.get("location", ""))
        hint = "redirects are not followed, since they would carry the key along: check [source] base_url"
        return PageUnreadable(f"the logs API returned {status}, a redirect to {target}", hint=hint)
    if response.content in {"an HTML page", "an XML document"}:
        return PageUnreadable(f"the logs API returned {status} with {response.content}", hint=INTERMEDIARY_HINT)
    return PageUnreadable(f"the logs API returned {status}", hint=CHECK_ADDRESS_HINT)


def _redirect_host(location: str) -> str:
    """Return the host of a Location, or a description if it has none. The rest may hold the key or a user's id."""
    try:
        host = urlsplit(location).hostname or ""
    except ValueError:
        return "an address that cannot be read"
    if not host:
        return "another path of the same host" if location else "no address"
    is_name = len(host) < 254 and all(letter.isascii() and (letter.isalnum() or letter in "-._:") for letter in host)  # noqa: PLR2004  # RFC 1035
    return host if is_name else "a host whose name cannot be shown"


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Return the seconds of a Retry-After in either form (RFC 9110, 10.2.3), or 0 if it has no usable value.

    A date is compared with the Date of the same response, since the two come from one clock. Some APIs send a time as
    the number that others send in X-RateLimit-Reset: seconds or milliseconds since 1970.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return 0.0
    today = _parse_http_date(headers.get("date", "")) or now
    if value.isascii() and value.isdigit():
        return _parse_seconds(value[:MAX_DIGITS], today)
    until = _parse_http_date(value)
    if until is None:
        return 0.0
    return max(0.0, (until - today).total_seconds())


def _parse_seconds(digits: str, today: datetime) -> float:
    seconds, since_1970 = float(digits), today.timestamp()
    for unit in (1, 1000):
        if abs(seconds / unit - since_1970) < MAX_RESET_DAYS * 86_400:
            return max(0.0, seconds / unit - since_1970)
    return min(seconds, MAX_SECONDS)


@lru_cache(maxsize=16)
def _parse_http_date(value: str) -> datetime | None:
    """Return the time of a Date or Retry-After header in UTC, or None if it is not a date.

    The cache helps, because many responses have the same second.
    """
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
