"""The bucket for whole payloads, deployed on moto, with the forwarder storing into it and a consumer reading it."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.e2e.conftest import alloy, vault_secrets
from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy
from tests.harness.installation import Installation
from tests.infra.policy import allows
from tests.infra.templates import REGION, Aws, moto, template

__all__ = ["alloy", "vault_secrets"]

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto:UserWarning")

EVENTS_PAGE = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto() as aws:
        yield aws


def consumer_code() -> str:
    """Return the code of docs/events.md with which a consumer reads a whole detail."""
    section = EVENTS_PAGE.read_text().partition("### Whole payloads in S3")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


def test_documented_consumer_reads_the_whole_detail(
    tmp_path: Path, alloy: FakeAlloy, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, bucket = f"failures-{secrets.token_hex(3)}", f"details-{secrets.token_hex(3)}"
    aws.deploy("bus.yaml", EventBusName=name)
    made = aws.deploy("payloads.yaml", BucketName=bucket)
    assert made["Bucket"] == bucket
    installation = Installation(tmp_path, alloy=alloy.url, bus=aws.url)
    installation.create_vault()
    installation.change("destination", event_bus=name, region=REGION, timeout="60s", max_entry_bytes=20_000)
    installation.change("event", oversize="s3", s3_bucket=bucket)
    fail(alloy, "large", payload={"note": "x" * 40_000})
    assert installation.run_command("once").code == 0
    (event,) = aws.messages(name)
    for variable, value in (
        ("AWS_ENDPOINT_URL_S3", aws.url),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ):
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    names: dict[str, Any] = {"event": event, "boto3": boto3, "hashlib": hashlib, "json": json}
    exec(consumer_code(), names)  # noqa: S102  # the code of our own docs
    assert "x" * 40_000 in json.dumps(names["detail"])
    assert {**event["detail"], "results": None, "trimmed": None, "dataref": None} == {
        **names["detail"],
        "results": None,
        "trimmed": None,
        "dataref": None,
    }


def test_objects_expire_and_are_encrypted_and_private() -> None:
    """Moto creates the bucket without these properties, so that they are checked as text."""
    bucket = template("payloads.yaml")["Resources"]["Payloads"]["Properties"]
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", {"Ref": "Days"})
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_each_policy_allows_one_action_below_the_prefix() -> None:
    resources = template("payloads.yaml")["Resources"]
    for logical, action in (("Store", "s3:PutObject"), ("Read", "s3:GetObject")):
        (statement,) = resources[logical]["Properties"]["PolicyDocument"]["Statement"]
        assert statement["Resource"] == {"Fn::Sub": "${Payloads.Arn}/${Prefix}*"}
        document = {"Statement": [{**statement, "Resource": "arn:aws:s3:::details/forwarder/*"}]}
        assert allows(document, action, "arn:aws:s3:::details/forwarder/2026/a.json", {})
        assert not allows(document, action, "arn:aws:s3:::details/other/a.json", {})
        assert not allows(document, "s3:DeleteObject", "arn:aws:s3:::details/forwarder/2026/a.json", {})
