"""The URL of a shared ledger. Each fault of it is named, and its values are those of AWS."""

import pytest

from forwarder.settings.validators.ledger_url import TableLocation, ledger_url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("dynamodb://t?region=eu-west-1", "no valid table name"),
        ("dynamodb://table/items?region=eu-west-1", "not of the form"),
        ("dynamodb://table", "names no region"),
        ("dynamodb://table?region=eu-west1", "has a region that is not an AWS region"),
        ("dynamodb://table?region=EU-WEST-1", "write it in small letters"),
        ("dynamodb://table?region=eu%20west%201", "has a region that"),
        ("dynamodb://table?region=eu-west-1a", "is an availability zone"),
        ("dynamodb://table?region=Ireland", "has a region that"),
        ("dynamodb://table?region=eu-west-1&retries=3", "unknown option retries"),
        ("dynamodb://table?region=eu-west-1&prefix=a/b", "invalid prefix"),
        ("dynamodb://table?region=eu-west-1&endpoint_url=localhost", "has an endpoint_url that"),
    ],
)
def test_invalid_url_of_a_table_is_refused_with_its_fault(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ledger_url(url)


def test_url_of_a_table_has_its_parts() -> None:
    url = "dynamodb://table?region=us-gov-east-1&endpoint_url=http://127.0.0.1:1&prefix=blue"
    assert ledger_url(url) == url
    assert TableLocation.of(url) == TableLocation("table", "us-gov-east-1", "http://127.0.0.1:1", "blue")
