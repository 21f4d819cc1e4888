"""The nudge's door: what it takes, and how little it does with it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from structlog.testing import capture_logs

from forwarder.vault import HOOK_TOKEN
from forwarder.web.hook import BURST, EVERY
from forwarder.web.signature import HEADER
from forwarder.web.tokens import renew
from tests.clocks import NOON
from tests.loops import looped
from tests.web.tls import signing_key
from tests.web.visit import Visit, visit

SAID = {"workflowId": "w", "executionId": "e-1", "error": "planted-customer-data"}


@asynccontextmanager
async def hooked(folder: Path, **web: Any) -> AsyncIterator[tuple[Visit, str]]:
    """A page, and the path at which Alloy calls it."""
    async with visit(folder, **web) as at:
        yield at, f"/hooks/alloy/{renew(at.desk.place, at.desk.settings(), HOOK_TOKEN, NOON)}"


async def called(at: Visit, path: str, said: Any = SAID, headers: Mapping[str, str] | None = None) -> int:
    """As Alloy does it, which is no browser."""
    body = said if isinstance(said, bytes) else json.dumps(said, separators=(",", ":")).encode()
    async with at.browser.post(path, data=body, headers=headers or {}) as answer:
        assert await answer.read() == b"" or answer.status >= 400
        return answer.status


@pytest.mark.parametrize(
    ("said", "headers", "nudged"),
    [
        (SAID, {}, ("w", None)),
        ({"workflowId": "w", "userId": "u"}, {}, ("w", "u")),
        ({}, {"X-Alloy-WorkflowId": "w", "X-Alloy-UserId": "u"}, ("w", "u")),
        (b"", {"X-Alloy-WorkflowId": "w"}, ("w", None)),
        ({"workflowId": 7}, {"X-Alloy-WorkflowId": "w"}, ("w", None)),
        (SAID, {"X-Alloy-WorkflowId": "other"}, ("w", None)),
    ],
)
@looped
async def test_the_named_workflow_is_nudged(
    tmp_path: Path, said: Any, headers: dict[str, str], nudged: tuple[str, str | None]
) -> None:
    async with hooked(tmp_path) as (at, path):
        assert await called(at, path, said, headers) == 202
        assert at.nudged == [nudged]


@looped
async def test_a_workflow_that_is_not_watched_is_no_error_for_the_caller(tmp_path: Path) -> None:
    async with hooked(tmp_path) as (at, path):
        assert await called(at, path, {"workflowId": "elsewhere"}) == 204


@pytest.mark.parametrize(
    "said", [b"", b"null", b"[]", b'"w"', b"{", b"\xff\xfe", b"[" * 60_000, {}, {"workflowId": "w" * 5000}]
)
@looped
async def test_what_names_no_workflow_nudges_nothing(tmp_path: Path, said: Any) -> None:
    async with hooked(tmp_path) as (at, path):
        assert await called(at, path, said) == 204
        assert at.nudged == []


@looped
async def test_without_the_token_there_is_no_such_door(tmp_path: Path) -> None:
    async with hooked(tmp_path) as (at, path):
        for wrong in ("/hooks/alloy/x", path[:-1], f"{path}x", f"/hooks/alloy/{at.token}"):
            assert await called(at, wrong) == 404
        assert at.nudged == []


@looped
async def test_a_new_address_closes_the_one_before(tmp_path: Path) -> None:
    async with hooked(tmp_path) as (at, path):
        assert await called(at, path) == 202
        new = renew(at.desk.place, at.desk.settings(), HOOK_TOKEN, NOON)
        assert await called(at, path) == 404
        assert await called(at, f"/hooks/alloy/{new}") == 202


@looped
async def test_a_storm_is_told_to_wait(tmp_path: Path) -> None:
    async with hooked(tmp_path) as (at, path):
        assert [await called(at, path) for _ in range(BURST + 1)] == [202] * BURST + [429]
        assert len(at.nudged) == BURST
        at.clock.advance(2 * EVERY)
        assert [await called(at, path) for _ in range(3)] == [202, 202, 429]


@looped
async def test_who_has_no_token_takes_nothing_from_who_has(tmp_path: Path) -> None:
    async with hooked(tmp_path) as (at, path):
        assert {await called(at, "/hooks/alloy/x") for _ in range(BURST + 1)} == {404}
        assert await called(at, path) == 202


@looped
async def test_nothing_of_a_call_stands_in_the_log(tmp_path: Path) -> None:
    async with hooked(tmp_path) as (at, path):
        with capture_logs() as log:
            await called(at, path)
            await called(at, path, b"planted-customer-data")
        assert "planted" not in str(log)
        assert path.rpartition("/")[2] not in str(log)


def signed(key: RSAPrivateKey, message: bytes) -> dict[str, str]:
    return {HEADER: key.sign(message, PKCS1v15(), SHA256()).hex()}


@looped
async def test_where_a_key_is_configured_a_signed_call_counts(tmp_path: Path) -> None:
    key = signing_key(tmp_path)
    async with hooked(tmp_path, alloy_public_key="alloy.pem") as (at, path):
        compact = b'{"workflowId":"w","text":"\xc3\xa9/\xe2\x82\xac"}'
        spaced = b'{ "workflowId": "w",\n "text": "\\u00e9/\xe2\x82\xac" }'
        for sent, signed_as in ((compact, compact), (spaced, spaced), (spaced, compact)):
            message = f"POST{at.served.page}{path}".encode() + signed_as
            assert await called(at, path, sent, signed(key, message)) == 202


@looped
async def test_behind_a_proxy_it_is_the_public_address_that_is_signed(tmp_path: Path) -> None:
    key = signing_key(tmp_path)
    public = "https://forwarder.example.com"
    async with hooked(tmp_path, alloy_public_key="alloy.pem", public_url=public) as (at, path):
        body = b'{"workflowId":"w"}'
        assert await called(at, path, body, signed(key, f"POST{public}{path}".encode() + body)) == 202
        assert await called(at, path, body, signed(key, f"POST{at.served.page}{path}".encode() + body)) == 401


@looped
async def test_any_other_call_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    key, other = signing_key(tmp_path), signing_key(tmp_path / "other")
    async with hooked(tmp_path, alloy_public_key="alloy.pem") as (at, path):
        body = b'{"workflowId":"w"}'
        message = f"POST{at.served.page}{path}".encode() + body
        for headers in (
            {},
            {HEADER: ""},
            {HEADER: "no hex"},
            {HEADER: "00" * 256},
            signed(other, message),
            signed(key, message + b" "),
            signed(key, message.replace(b"POST", b"PUT")),
            signed(key, body),
        ):
            assert await called(at, path, body, headers) == 401
        assert at.nudged == []
