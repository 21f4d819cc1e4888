"""Pasted secrets: with white space, quotation marks or names, or in the wrong field."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from forwarder.errors import VaultError
from forwarder.vault import NAMES
from forwarder.vault.secret_values import validate_secret
from tests.harness.installation import PROGRAM, run_program

API, ID, SECRET, TOKEN = NAMES
KEY_ID, TEMPORARY_ID = "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PLANTED = "al_pl4nted567890"


def run_command(folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    return run_program(PROGRAM, ["-c", str(folder / "forwarder.toml"), *words], stdin, 60, env, folder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert run_command(tmp_path, "init").returncode == 0
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (API, f'"{PLANTED}"', "quotation marks"),
        (API, f"'{PLANTED}'", "quotation marks"),
        (API, f"`{PLANTED}`", "quotation marks"),
        (API, f"\u201c{PLANTED}\u201d", "quotation marks"),
        (API, f"\u2018{PLANTED}\u2019", "quotation marks"),
        (API, f"\u00ab{PLANTED}\u00bb", "quotation marks"),
        (API, f'{PLANTED}"', "quotation mark at one end"),
        (API, f"ALLOY_API_KEY={PLANTED}", "name with its value"),
        (API, f"export ALLOY_API_KEY={PLANTED}", "name with its value"),
        (API, f"$env:ALLOY_API_KEY = '{PLANTED}'", "name with its value"),
        (API, f"alloy-api-key={PLANTED}", "name with its value"),
        (API, f"x-api-key: {PLANTED}", "name with its value"),
        (API, f"Authorization: Bearer {PLANTED}", "name with its value"),
        (API, f"Bearer {PLANTED}", "begins with Bearer"),
        (API, f"bearer {PLANTED}", "begins with Bearer"),
        (API, f'{{"apiKey": "{PLANTED}"}}', "JSON"),
        (API, f"curl -H 'x-api-key: {PLANTED}' https://embedded.runalloy.com", "command"),
        (API, f"-H 'x-api-key: {PLANTED}'", "header"),
        (API, f"https://dashboard.example.com/{PLANTED}", "address"),
        (API, f"{PLANTED}\n{PLANTED}", "several lines"),
        (API, "YOUR_API_KEY", "placeholder"),
        (API, "<api key>", "placeholder"),
        (API, "<your-api-key>", "placeholder"),
        (API, "xxxxxxxxxxxx", "placeholder"),
        (API, "****************", "placeholder"),
        (API, "$ALLOY_API_KEY", "variable"),
        (API, "${ALLOY_API_KEY}", "variable"),
        (API, "{{ alloy_api_key }}", "variable"),
        (API, KEY_ID, "access key id"),
        (API, "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x", "ARN"),
        (ID, SECRET_KEY, "secret access key"),
        (ID, "AROAIOSFODNN7EXAMPLE", "not of an access key"),
        (ID, "IQoJb3JpZ2luX2VjE" * 20, "session token"),
        (ID, f"aws_access_key_id = {KEY_ID}", "name with its value"),
        (SECRET, KEY_ID, "access key id"),
        (SECRET, TEMPORARY_ID, "access key id"),
        (SECRET, "IQoJb3JpZ2luX2VjE" * 20, "session token"),
        (SECRET, '{"AccessKey": {"SecretAccessKey": "x"}}', "JSON"),
        (TOKEN, SECRET_KEY, "secret access key"),
        (TOKEN, KEY_ID, "access key id"),
    ],
)
def test_secret_of_another_form_is_refused(name: str, value: str, words: str) -> None:
    with pytest.raises(VaultError, match=words) as raised:
        validate_secret(name, value)
    assert raised.value.hint
    assert value not in str(raised.value)
    assert PLANTED not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (API, "al_1234567890abcdef"),
        (API, "5f0c1a2b-3c4d-4e5f-8a9b-0c1d2e3f4a5b"),
        (API, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"),
        (API, "a" * 40),
        (API, "key=="),
        (ID, KEY_ID),
        (ID, TEMPORARY_ID),
        (ID, "testing"),
        (SECRET, SECRET_KEY),
        (SECRET, "testing"),
        (TOKEN, "IQoJb3JpZ2luX2VjE" * 20),
        (TOKEN, "testing"),
    ],
)
def test_secret_alone_is_accepted(name: str, value: str) -> None:
    validate_secret(name, value)


@pytest.mark.parametrize(
    "piped",
    [
        f"{PLANTED}\r\n".encode(),
        f"\ufeff{PLANTED}\r\n".encode(),
        f"\u00a0\u200b {PLANTED}\u200b\u00a0\n\n".encode(),
        f"{PLANTED}\r\n".encode("utf-16"),
    ],
)
def test_keys_set_strips_white_space(home: Path, piped: bytes) -> None:
    done = run_command(home, "keys", "set", API, stdin=piped)
    assert done.returncode == 0, done.stderr
    shown = run_command(home, "keys", "show").stdout
    assert PLANTED[-4:].encode() in shown


def test_keys_set_refuses_and_names_quotes(home: Path) -> None:
    done = run_command(home, "keys", "set", API, stdin=f'"{PLANTED}"'.encode())
    assert done.returncode == 78
    assert b"quotation marks" in done.stderr
    assert PLANTED.encode() not in done.stdout + done.stderr
    assert not (home / "forwarder.keys").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "set", API, PLANTED),
        ("keys", "set", f"{API}={PLANTED}"),
        ("keys", "set", API, "--value", PLANTED),
        ("keys", "set", API, f"--value={PLANTED}"),
        ("keys", "set", API, "-v", PLANTED),
        ("keys", "set", PLANTED),
        ("keys", "remove", API, PLANTED),
        ("keys", "remove", PLANTED),
        ("keys", "show", PLANTED),
        ("keys", PLANTED),
        ("init", PLANTED),
        ("web", "create-token", PLANTED),
        ("enable", PLANTED),
    ],
)
def test_no_command_repeats_a_secret_given_as_argument(home: Path, words: tuple[str, ...]) -> None:
    done = run_command(home, *words)
    assert done.returncode == 2
    assert done.stderr
    assert PLANTED.encode() not in done.stdout + done.stderr


def test_temporary_key_without_its_token_is_noted(home: Path) -> None:
    done = run_command(home, "keys", "set", ID, stdin=TEMPORARY_ID.encode())
    assert done.returncode == 0
    assert TOKEN.encode() in done.stderr
