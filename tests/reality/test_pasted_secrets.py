"""Secrets in the forms of scripts, consoles and browsers, and endpoints that contradict the region."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from forwarder.errors import SettingsError, VaultError
from forwarder.settings import ConfigSource, load
from forwarder.vault import NAMES, Vault
from forwarder.vault.secret_values import secret_hint, validate_secret
from tests.web.test_settings_page import send, settings_page_client

API, ID, SECRET, TOKEN = NAMES
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *((name, value, "missing value") for name in NAMES for value in ("null", "None", "undefined")),
        (API, "${var.key}", "template"),
        (API, "$(ALLOY_KEY)", "template"),
        (API, "${{secrets.KEY}}", "template"),
        (API, "#{KEY}#", "template"),
        (API, "__KEY__", "template"),
        (API, "((alloy-key))", "template"),
        (API, "ENC[AES256_GCM,data:abc,type:str]", "reference"),
        (API, "vault:secret/data/alloy#key", "reference"),
        (API, "@key.txt", "reference"),
        (API, "/run/secrets/alloy_key", "reference"),
        (API, "~/alloy.key", "reference"),
        (API, "al_1234567890abcdef%", "punctuation"),
        (API, "al_1234567890abcdef,", "punctuation"),
        (API, "al_1234567890abcdef;", "punctuation"),
        (API, "al_1234567890abcdef  # of the test account", "comment"),
        (ID, in_base64(KEY_ID), "base64"),
        (ID, in_base64(KEY_ID + "\n"), "base64"),
        (SECRET, in_base64(SECRET_KEY), "base64"),
        (ID, f"{KEY_ID},{SECRET_KEY}", "under its own name"),
        (ID, f"{KEY_ID}:{SECRET_KEY}", "under its own name"),
        (SECRET, f"{KEY_ID},{SECRET_KEY}", "under its own name"),
        (ID, KEY_ID.lower(), "capitals"),
        (SECRET, SECRET_KEY.replace("/", "%2F"), "encoded"),
        (SECRET, SECRET_KEY.replace("/", "\\/"), "encoded"),
    ],
)
def test_secret_with_additions_of_a_script_is_refused(name: str, value: str, words: str) -> None:
    with pytest.raises(VaultError, match=words) as raised:
        validate_secret(name, value)
    assert raised.value.hint
    assert value not in str(raised.value)


@pytest.mark.parametrize(
    "value", ["a" * 40, "0" * 32, "deadbeef" * 5, "Zm9vYmFy", "5f0c1a2b-3c4d-4e5f-8a9b-0c1d2e3f4a5b"]
)
def test_key_that_is_not_base64_text_is_set_without_a_note(value: str) -> None:
    validate_secret(API, value)
    assert secret_hint(API, value, has_token=False) == ""


def test_api_key_in_base64_is_set_with_a_note() -> None:
    """The form of the API's keys is not documented, so that such a key may be correct."""
    value = in_base64("al_1234567890abcdef\n")
    validate_secret(API, value)
    assert "base64" in secret_hint(API, value, has_token=False)


@pytest.mark.parametrize("name", [API, SECRET, TOKEN])
async def test_page_token_filled_in_by_a_browser_is_refused(tmp_path: Path, name: str) -> None:
    """The token must replace no stored key, and a connection test must not send it."""
    async with settings_page_client(tmp_path) as client:
        before = Vault.open(client.context.config_source, load(client.context.config_source)).reveal(API)
        saved = await send(client, {name: client.token})
        page = await saved.text()
        assert saved.status == 422
        assert "password manager" in page
        assert client.token not in page
        assert Vault.open(client.context.config_source, load(client.context.config_source)).reveal(API) == before
        for path in ("/settings/check", "/settings/test"):
            tried = await (await send(client, {name: client.token}, path)).text()
            is_used = (name, path) != (API, "/settings/test")  # a test event needs no key of the logs API
            assert ("password manager" in tried) == is_used
            assert client.token not in tried


@pytest.mark.parametrize("around", ["{}\n", " {} ", "\u200b{}\ufeff", "\u00a0{}\u00a0\r\n"])
async def test_token_with_surrounding_white_space_logs_in(tmp_path: Path, around: str) -> None:
    async with settings_page_client(tmp_path) as client:
        assert (await client.log_in(around.format(client.token))).status == 303


def settings_with(folder: Path, endpoint_url: str, region: str = "eu-central-1") -> None:
    file = folder / "forwarder.toml"
    lines = ["[destination]", 'event_bus = "failures"', f'region = "{region}"', f'endpoint_url = "{endpoint_url}"']
    file.write_text("\n".join(lines))
    load(ConfigSource(file, {}))


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("https://events.us-east-1.amazonaws.com", ["us-east-1", "eu-central-1", 'set region = "us-east-1"']),
        ("https://events-fips.us-east-1.amazonaws.com", ["us-east-1", "eu-central-1"]),
        ("https://events.us-east-1.api.aws", ["us-east-1", "eu-central-1"]),
        ("https://vpce-0a1b-2c3d.events.us-east-1.vpce.amazonaws.com", ["us-east-1", "eu-central-1"]),
        ("https://vpce-0a1b-2c3d-us-east-1a.events.us-east-1.vpce.amazonaws.com/", ["us-east-1", "eu-central-1"]),
        ("https://events.cn-north-1.amazonaws.com.cn", ["cn-north-1", "eu-central-1"]),
        ("https://sqs.eu-central-1.amazonaws.com", ["another service"]),
        ("https://abcde.veo.endpoint.events.amazonaws.com", ["global endpoint"]),
    ],
)
def test_endpoint_that_contradicts_the_region_is_refused(tmp_path: Path, endpoint: str, words: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"destination\.endpoint_url") as raised:
        settings_with(tmp_path, endpoint)
    assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://events.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://events-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://events.eu-central-1.api.aws", "eu-central-1"),
        ("https://vpce-0a1b-2c3d.events.eu-central-1.vpce.amazonaws.com", "eu-central-1"),
        ("https://events.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("https://gateway.example.com", "eu-central-1"),
        ("http://127.0.0.1:4566", "us-east-1"),
    ],
)
def test_endpoint_of_the_region_is_accepted(tmp_path: Path, endpoint: str, region: str) -> None:
    settings_with(tmp_path, endpoint, region)
