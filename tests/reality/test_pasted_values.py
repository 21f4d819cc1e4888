"""Values as people paste them: with white space, quotation marks, names, or in another's place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forwarder.errors import SettingsError, VaultError
from forwarder.model import Feed
from forwarder.settings import ConfigSource, Settings, load
from forwarder.vault import NAMES
from forwarder.vault.secret_values import validate_secret

API, ID, SECRET, TOKEN = NAMES
KEY_ID, TEMPORARY_ID = "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PLANTED = "al_pl4nted567890"


def run_command(folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603  # the program under test
        [sys.executable, "-m", "forwarder", "-c", str(folder / "forwarder.toml"), *words],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONPATH": str(Path.cwd())},
    )


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
def test_secret_that_is_more_or_another_is_refused(name: str, value: str, words: str) -> None:
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
def test_keys_set_takes_off_white_space(home: Path, piped: bytes) -> None:
    done = run_command(home, "keys", "set", API, stdin=piped)
    assert done.returncode == 0, done.stderr
    shown = run_command(home, "keys", "show").stdout
    assert PLANTED[-4:].encode() in shown


def test_keys_set_refuses_quotes_and_names_them(home: Path) -> None:
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


# Settings.


def settings(folder: Path, text: str, **environ: str) -> Settings:
    file = folder / "forwarder.toml"
    file.write_text(text)
    return load(ConfigSource(file, environ))


def destination(event_bus: str = "failures", region: str = "eu-central-1", more: str = "") -> str:
    return f'[destination]\nevent_bus = "{event_bus}"\nregion = "{region}"\n{more}\n'


def source(line: str) -> str:
    return f"[source]\n{line}\n" + destination()


BUS = "arn:aws:events:us-east-1:123456789012:event-bus/failures"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (destination(BUS), ["destination.event_bus", "us-east-1", "eu-central-1", 'set region = "us-east-1"']),
        (destination("arn:aws:events:eu-central-1:123456789012:rule/x/y"), ["destination.event_bus", "rule"]),
        (destination("arn:aws:events:eu-central-1::event-source/aws.partner/x"), ["partner event source"]),
        (destination("arn:aws:events:eu-central-1:1234:event-bus/x"), ["not complete"]),
        (destination("arn:aws:sns:eu-central-1:123456789012:topic"), ["another service"]),
        (destination("https://eu-central-1.console.aws.amazon.com/events/home#/eventbus/x"), ["web address"]),
        (destination("'failures'"), ["destination.event_bus", "quotation marks"]),
        (destination("EVENT_BUS=failures"), ["destination.event_bus", "name with its value"]),
        (destination("<your-bus>"), ["destination.event_bus", "placeholder"]),
        (destination(region="eu-central-1a"), ["destination.region", "availability zone"]),
        (destination(region="EU-CENTRAL-1"), ["destination.region", "small letters"]),
        (destination(region="Europe (Ireland)"), ["destination.region", "eu-west-1"]),
        (destination(region="AWS_REGION=eu-central-1"), ["destination.region", "name with its value"]),
        (destination(more='role_arn = "arn:aws:iam::123456789012:user/me"'), ["destination.role_arn", "user"]),
        (destination(more='role_arn = "arn:aws:sts::123456789012:assumed-role/r/s"'), ["role's session"]),
        (destination(more='role_arn = "arn:aws:iam::123456789012:instance-profile/x"'), ["instance profile"]),
        (destination(more='role_arn = "arn:aws:iam::123456789012:role/a b"'), ["destination.role_arn"]),
        (source('base_url = "https://embedded.runalloy.com/2024-03"'), ["source.base_url", "version already"]),
        (source('base_url = "https://embedded.runalloy.com/2025-09/"'), ['version = "2025-09"']),
        (source('base_url = "https://embedded.runalloy.com/2024-03/workflow/1/logs"'), ["version already"]),
        (source('base_url = "https://embedded.runalloy.com/workflow/1/logs"'), ["source.base_url", "after the host"]),
        (source('base_url = "https://embedded.runalloy.com?limit=3"'), ["source.base_url", "query"]),
        (source('base_url = "https://embedded.runalloy.com#x"'), ["source.base_url", "fragment"]),
        (source('base_url = "embedded.runalloy.com"'), ["source.base_url", "begin it with https://"]),
        (source('base_url = "embedded.runalloy.com:443/x"'), ["source.base_url", "begin it with https://"]),
        (source("base_url = '\"https://embedded.runalloy.com\"'"), ["source.base_url", "quotation marks"]),
        (source('workflows = ["a,b"]'), ["source.workflows", "several"]),
        (source('workflows = ["64f1a2c9 64f1a2d0"]'), ["source.workflows", "several"]),
        (source('workflows = ["64f1a2c9\\n64f1a2d0"]'), ["source.workflows", "several"]),
        (source('workflows = ["a/b"]'), ["source.workflows", "slash"]),
        (source('workflows = ["."]'), ["source.workflows", "slash"]),
        (source('workflows = [{ id = ".." }]'), ["source.workflows", "slash"]),
        (source('workflows = ["https://app.example.com/workflows/1"]'), ["source.workflows", "address"]),
        (source("workflows = ['\"a\"']"), ["source.workflows", "quotation marks"]),
        (source('workflows = ["<workflow id>"]'), ["source.workflows", "placeholder"]),
        (source('workflows = ["{{workflowId}}"]'), ["source.workflows", "variable"]),
        (destination() + '[web]\nlisten = "8787"', ["web.listen", "port alone"]),
        (destination() + '[web]\nlisten = ":8787"', ["web.listen", "port alone"]),
        (destination() + '[web]\nlisten = "http://127.0.0.1:8787"', ["web.listen", "web address"]),
    ],
)
def test_setting_that_is_more_or_another_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, text)
    assert [word for word in words if word not in str(raised.value)] == []


def test_white_space_around_settings_is_taken_off(tmp_path: Path) -> None:
    text = '[source]\nworkflows = [" a\\r\\n", "a", {id = "\u200bb", user_id = "u\u00a0"}]\n'
    text += destination(" failures\u200b", "eu-central-1\\n")
    found = settings(tmp_path, text)
    assert (found.destination.event_bus, found.destination.region) == ("failures", "eu-central-1")
    assert found.source.workflows == (Feed("a"), Feed("b", "u"))


def test_white_space_around_variables_is_taken_off(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        destination(),
        FORWARDER_DESTINATION__REGION="eu-west-1\r\n",
        FORWARDER_ENABLED="false\r",
        FORWARDER_SOURCE__TIMEOUT=" 5s\n",
        FORWARDER_SOURCE__WORKFLOWS='["a ", "a"]\r\n',
    )
    assert (found.destination.region, found.enabled) == ("eu-west-1", False)
    assert found.source.workflows == (Feed("a"),)


@pytest.mark.parametrize(
    "text",
    [
        destination("my-bus"),
        destination("todo"),
        destination("yours"),
        destination("aws.partner/example.com/1/x"),
        destination(BUS, "us-east-1"),
        source('base_url = "https://gateway.example.com/alloy/"'),
        source('base_url = "https://embedded.runalloy.com/2024-03"\nversion = ""'),
        source('workflows = ["my-workflow", "flow_1:a", "64f1a2c9e1", "a.b", "ü"]'),
        destination() + '[event]\ndetail_type = \'["quoted"] <type>\'\nredact = ["x_here", "<abc>"]',
    ],
)
def test_unusual_setting_is_accepted(tmp_path: Path, text: str) -> None:
    settings(tmp_path, text)
