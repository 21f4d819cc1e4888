"""The URL of a ledger in DynamoDB."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from forwarder.settings.validators import aws
from forwarder.settings.validators.common import address

SCHEME = "dynamodb"

FORM = "dynamodb://TABLE?region=…&endpoint_url=…&prefix=…"

_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html"""

_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,64}")


FILE_PREFIX = "sqlite:///"


def ledger_url(value: str) -> str:
    """Return the value. Raise ValueError if it names neither a file nor a table."""
    if value.startswith(f"{SCHEME}:"):
        TableLocation.of(value)
    elif not value.removeprefix(FILE_PREFIX) or not value.startswith(FILE_PREFIX):
        raise ValueError(f"is not of the form sqlite:///forwarder.db or {FORM}")
    return value


@dataclass(frozen=True, slots=True)
class TableLocation:
    """A table, its region, and the prefix of a fleet's items. An empty `endpoint_url` means that of AWS."""

    table: str
    region: str
    endpoint_url: str = ""
    prefix: str = ""

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the place that a URL names. Raise ValueError, with the reason, if the URL is invalid."""
        parts = urlsplit(url)
        table, options = parts.netloc, dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.scheme != SCHEME or parts.path.strip("/") or parts.fragment:
            raise ValueError(f"is not of the form {FORM}")
        if not _TABLE_NAME.fullmatch(table):
            raise ValueError("has no valid table name: 3 to 255 letters, digits, `_`, `-` and `.`")
        if unknown := sorted(options.keys() - {"region", "endpoint_url", "prefix"}):
            raise ValueError(f"has an unknown option {unknown[0]}: the options are region, endpoint_url and prefix")
        if not (region := options.get("region", "")):
            raise ValueError(f"names no region: {FORM}")
        try:
            aws.region(region)
        except ValueError as error:
            raise ValueError(f"has a region that {error}") from None
        prefix, endpoint_url = options.get("prefix", ""), options.get("endpoint_url", "")
        if prefix and not _PREFIX.fullmatch(prefix):
            raise ValueError("has an invalid prefix: up to 64 letters, digits, `_`, `-` and `.`")
        if endpoint_url:
            try:
                address(endpoint_url)
            except ValueError as error:
                raise ValueError(f"has an endpoint_url that {error}") from None
        return cls(table, region, endpoint_url, prefix)

    def __str__(self) -> str:
        prefix = f" (prefix {self.prefix})" if self.prefix else ""
        return f"{self.table} in {self.region}{prefix}"
