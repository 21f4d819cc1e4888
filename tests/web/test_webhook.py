"""The webhook: it authenticates a call and triggers a poll of the named workflow."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from structlog.testing import capture_logs

from forwarder.vault import WEBHOOK_TOKEN
from forwarder.web.tokens import issue_token
from forwarder.web.webhook import SIGNATURE_HEADER, WEBHOOK_BURST, WEBHOOK_INTERVAL_SECONDS
from tests.harness.installation import ROOT
from tests.virtual_clock import NOON
from tests.web.certificates import create_signing_key
from tests.web.client import WebClient, web_client

PAYLOAD = {"workflowId": "w", "executionId": "e-1", "error": "planted-customer-data"}


@asynccontextmanager
async def webhook_client(folder: Path, **web: Any) -> AsyncIterator[tuple[WebClient, str]]:
    """Yield a client and the webhook's path."""
    async with web_client(folder, **web) as client:
        yield (
            client,
            f"/hooks/alloy/{issue_token(client.context.config_source, client.context.settings(), WEBHOOK_TOKEN, NOON)}",
        )


async def call_webhook(
    client: WebClient, path: str, payload: Any = PAYLOAD, headers: Mapping[str, str] | None = None
) -> int:
    """Call the webhook as Alloy does: without cookies and an Origin. Return the status."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
    async with client.browser.post(path, data=body, headers=headers or {}) as response:
        assert await response.read() == b"" or response.status >= 400
        return response.status


@pytest.mark.parametrize(
    ("payload", "headers", "triggered"),
    [
        (PAYLOAD, {}, ("w", None)),
        ({"workflowId": "w", "userId": "u"}, {}, ("w", "u")),
        ({}, {"X-Alloy-WorkflowId": "w", "X-Alloy-UserId": "u"}, ("w", "u")),
        (b"", {"X-Alloy-WorkflowId": "w"}, ("w", None)),
        ({"workflowId": 7}, {"X-Alloy-WorkflowId": "w"}, ("w", None)),
        (PAYLOAD, {"X-Alloy-WorkflowId": "other"}, ("w", None)),
    ],
)
async def test_named_workflow_is_triggered(
    tmp_path: Path, payload: Any, headers: dict[str, str], triggered: tuple[str, str | None]
) -> None:
    async with webhook_client(tmp_path) as (client, path):
        assert await call_webhook(client, path, payload, headers) == 202
        assert client.triggered == [triggered]


async def test_unwatched_workflow_is_no_error_for_the_caller(tmp_path: Path) -> None:
    async with webhook_client(tmp_path) as (client, path):
        assert await call_webhook(client, path, {"workflowId": "elsewhere"}) == 204


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"w"', b"{", b"\xff\xfe", b"[" * 60_000, {}, {"workflowId": "w" * 5000}]
)
async def test_body_without_a_workflow_triggers_nothing(tmp_path: Path, payload: Any) -> None:
    async with webhook_client(tmp_path) as (client, path):
        assert await call_webhook(client, path, payload) == 204
        assert client.triggered == []


async def test_call_with_a_wrong_token_is_not_found(tmp_path: Path) -> None:
    async with webhook_client(tmp_path) as (client, path):
        for wrong in ("/hooks/alloy/x", path[:-1], f"{path}x", f"/hooks/alloy/{client.token}"):
            assert await call_webhook(client, wrong) == 404
        assert client.triggered == []


async def test_new_webhook_token_revokes_the_previous_one(tmp_path: Path) -> None:
    async with webhook_client(tmp_path) as (client, path):
        assert await call_webhook(client, path) == 202
        new = issue_token(client.context.config_source, client.context.settings(), WEBHOOK_TOKEN, NOON)
        assert await call_webhook(client, path) == 404
        assert await call_webhook(client, f"/hooks/alloy/{new}") == 202


async def test_webhook_calls_are_rate_limited(tmp_path: Path) -> None:
    async with webhook_client(tmp_path) as (client, path):
        assert [await call_webhook(client, path) for _ in range(WEBHOOK_BURST + 1)] == [202] * WEBHOOK_BURST + [429]
        assert len(client.triggered) == WEBHOOK_BURST
        client.clock.advance(2 * WEBHOOK_INTERVAL_SECONDS)
        assert [await call_webhook(client, path) for _ in range(3)] == [202, 202, 429]


async def test_calls_with_a_wrong_token_use_no_rate_limit(tmp_path: Path) -> None:
    async with webhook_client(tmp_path) as (client, path):
        assert {await call_webhook(client, "/hooks/alloy/x") for _ in range(WEBHOOK_BURST + 1)} == {404}
        assert await call_webhook(client, path) == 202


async def test_webhook_call_is_logged_without_body_and_token(tmp_path: Path) -> None:
    async with webhook_client(tmp_path) as (client, path):
        with capture_logs() as log:
            await call_webhook(client, path)
            await call_webhook(client, path, b"planted-customer-data")
        assert "planted" not in str(log)
        assert path.rpartition("/")[2] not in str(log)


def signature_headers(key: RSAPrivateKey, message: bytes) -> dict[str, str]:
    return {SIGNATURE_HEADER: key.sign(message, PKCS1v15(), SHA256()).hex()}


async def test_signed_call_with_a_configured_key_is_accepted(tmp_path: Path) -> None:
    key = create_signing_key(tmp_path)
    async with webhook_client(tmp_path, alloy_public_key="alloy.pem") as (client, path):
        compact = b'{"workflowId":"w","text":"\xc3\xa9/\xe2\x82\xac"}'
        spaced = b'{ "workflowId": "w",\n "text": "\\u00e9/\xe2\x82\xac" }'
        for sent, signed_as in ((compact, compact), (spaced, spaced), (spaced, compact)):
            message = f"POST{client.addresses.web_ui}{path}".encode() + signed_as
            assert await call_webhook(client, path, sent, signature_headers(key, message)) == 202


async def test_signature_behind_a_proxy_covers_the_public_url(tmp_path: Path) -> None:
    key = create_signing_key(tmp_path)
    public = "https://forwarder.example.com"
    async with webhook_client(tmp_path, alloy_public_key="alloy.pem", public_url=public) as (client, path):
        body = b'{"workflowId":"w"}'
        assert (
            await call_webhook(client, path, body, signature_headers(key, f"POST{public}{path}".encode() + body)) == 202
        )
        assert (
            await call_webhook(
                client, path, body, signature_headers(key, f"POST{client.addresses.web_ui}{path}".encode() + body)
            )
            == 401
        )


async def test_call_with_a_wrong_signature_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    key, other = create_signing_key(tmp_path), create_signing_key(tmp_path / "other")
    async with webhook_client(tmp_path, alloy_public_key="alloy.pem") as (client, path):
        body = b'{"workflowId":"w"}'
        message = f"POST{client.addresses.web_ui}{path}".encode() + body
        for headers in (
            {},
            {SIGNATURE_HEADER: ""},
            {SIGNATURE_HEADER: "no hex"},
            {SIGNATURE_HEADER: "00" * 256},
            signature_headers(other, message),
            signature_headers(key, message + b" "),
            signature_headers(key, message.replace(b"POST", b"PUT")),
            signature_headers(key, body),
        ):
            assert await call_webhook(client, path, body, headers) == 401
        assert client.triggered == []


def documented_statuses() -> set[int]:
    """Return the statuses in the table of docs/operations.md, "Receive webhooks"."""
    section = (ROOT / "docs" / "operations.md").read_text().split("## Receive webhooks")[1].split("\n## ")[0]
    return {int(status) for status in re.findall(r"^\| (\d{3}) \|", section, re.MULTILINE)}


async def test_statuses_behind_a_proxy_are_documented(tmp_path: Path) -> None:
    """The set-up is the documented one: the proxy is on this machine, and passes the public host name on."""
    web = {"public_url": "https://forwarder.example.com", "alloy_public_key": ""}
    public = {"Host": "forwarder.example.com"}
    seen = {403, 429}  # refused by address and by rate: other tests
    async with webhook_client(tmp_path, **web) as (client, path):
        for expected, status in (
            (202, await call_webhook(client, path, PAYLOAD, public)),
            (204, await call_webhook(client, path, {"workflowId": "elsewhere"}, public)),
            (404, await call_webhook(client, f"{path}x", PAYLOAD, public)),
            (421, await call_webhook(client, path, PAYLOAD, {"Host": "shop.example.com"})),
        ):
            assert status == expected
            seen.add(status)
        assert client.triggered == [("w", None), ("elsewhere", None)]
    (tmp_path / "signed").mkdir()
    create_signing_key(tmp_path / "signed")
    async with webhook_client(tmp_path / "signed", **web | {"alloy_public_key": "alloy.pem"}) as (client, path):
        seen.add(await call_webhook(client, path, PAYLOAD, public))
    assert seen == documented_statuses()
