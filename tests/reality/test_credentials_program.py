"""The program with failing credentials prints one line with the cause, exits with 77, and loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from forwarder.diagnostics import run_checks
from forwarder.settings.load import resolve_config
from forwarder.web.server import check_web_ui
from tests.e2e.harness import fail, sent
from tests.fakes import credential_endpoints as endpoints
from tests.fakes import sts
from tests.fakes.actions import HttpResponse
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now
from tests.harness.installation import CommandResult, Installation
from tests.harness.process import eventually
from tests.virtual_clock import QuickClock

ARN = "arn:aws:iam::123456789012:role/publisher"
STEPS = [
    *("settings", "web UI", "vault", "logs API", "workflows", "AWS identity", "event bus", "publishing", "counters"),
]
SSO = "[profile prod]\nsso_session=corp\nsso_account_id=1\nsso_role_name=r\n[sso-session corp]\nsso_start_url=https://x\nsso_region=eu-west-1\n"


@pytest.fixture
def alloy() -> Iterator[FakeAlloy]:
    with FakeAlloy() as alloy:
        alloy.api.add_workflow("w")
        fail(alloy, "a")
        yield alloy


@pytest.fixture
def bus() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bus:
        yield bus


@pytest.fixture
def installation(tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge) -> Installation:
    installation = Installation(tmp_path, alloy=alloy.url, bus=bus.url)
    installation.create_vault({"alloy-api-key": API_KEY})  # the AWS keys are for the chain to find
    return installation


def config(installation: Installation, text: str) -> None:
    (installation.directory / ".aws").mkdir(exist_ok=True)
    (installation.directory / ".aws" / "config").write_text(text)


def web_identity(installation: Installation, token: str | None = None) -> Path:
    file = installation.directory / "token"
    installation.env |= {"AWS_ROLE_ARN": ARN, "AWS_WEB_IDENTITY_TOKEN_FILE": str(file)}
    if token is not None:
        file.write_text(token)
    return file


def marks(done: CommandResult) -> dict[str, str]:
    lines = [line for line in done.out.splitlines() if line[:1] in "✓✗–" and line]
    return {line[2:].partition(":")[0]: line[0] for line in lines}


def output_of(done: CommandResult, code: int = 77) -> str:
    """Return the output of a command. Require its exit code, and that there is no traceback."""
    assert done.code == code, done
    assert "Traceback" not in done.output, done
    return done.output


def test_check_names_the_token_file_and_runs_every_step(installation: Installation) -> None:
    file = web_identity(installation)
    done = installation.run_command("check")
    assert f"{file} (AWS_WEB_IDENTITY_TOKEN_FILE)" in output_of(done)
    assert marks(done) == dict(zip(STEPS, "✓✓✓✓✓✗✗–✓", strict=True))


def test_check_has_the_hint_in_json(installation: Installation) -> None:
    installation.env["AWS_PROFILE"] = "prod"
    done = installation.run_command("check", "--json")
    output_of(done)
    (identity,) = [step for step in done.json() if step["name"] == "AWS identity"]
    assert not identity["ok"]
    assert 'the profile "prod" (AWS_PROFILE)' in identity["message"]
    assert "aws configure --profile prod" in identity["hint"]


def test_once_keeps_entries_until_the_token_exists(installation: Installation, bus: StrictEventBridge) -> None:
    session = Key("ASIAPLANTED000000009", "pl4nted/secret", "pl4nted-token", utc_now() + timedelta(hours=1), ARN)
    bus.keys[session.id] = session
    with endpoints.web_identities({"pl4nted": session}) as server:
        installation.env["AWS_ENDPOINT_URL_STS"] = server.url
        file = web_identity(installation)
        output = output_of(installation.run_command("once", "--timeout", "1s"))
        assert str(file) in output
        assert installation.counters()["pending"] == 1
        assert not installation.dead_letters()
        file.write_text("pl4nted")
        output = output_of(installation.run_command("once"), 0)
    assert sent(bus) == ["a"]
    assert "pl4nted" not in output


def test_run_logs_the_cause_and_sends_after_the_fix(installation: Installation, bus: StrictEventBridge) -> None:
    config(installation, "[default\n")
    with installation.start() as daemon:
        daemon.wait_for_log("delivery backing off", "/.aws/config, line 1")
        pair = f"aws_access_key_id={KEY.id}\naws_secret_access_key={KEY.secret}\n"
        config(installation, f"[default]\n{pair}")
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log
    assert KEY.secret not in daemon.log


def test_hanging_credential_process_is_killed_with_its_children(installation: Installation) -> None:
    installation.change("destination", timeout="500ms")
    script = installation.directory / "keys.sh"
    script.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {installation.directory}/child\nwait\n")
    script.chmod(0o700)
    config(installation, f"[default]\ncredential_process = {script}\n")
    assert "credential_process" in output_of(installation.run_command("check"))
    child = int((installation.directory / "child").read_text())
    assert eventually(lambda: not is_running(child))


def is_running(process: int) -> bool:
    try:
        os.kill(process, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()


@pytest.mark.parametrize(
    ("expires", "answer", "words"),
    [
        (-1, HttpResponse(500), "the login has expired"),
        (9, endpoints.answer({"message": "Session token not found"}, 401), "the login has expired"),
        (
            9,
            HttpResponse(403, {"x-amzn-errortype": "ForbiddenException"}, b'{"message":"No access"}'),
            "ForbiddenException",
        ),
    ],
)
def test_failing_sso_login_has_the_login_command(
    installation: Installation, expires: int, answer: HttpResponse, words: str
) -> None:
    if answer.status == 401:
        answer = HttpResponse(401, {"x-amzn-errortype": "UnauthorizedException"}, answer.body)
    config(installation, SSO)
    cache = installation.directory / ".aws/sso/cache"
    cache.mkdir(parents=True)
    name = hashlib.sha1(b"corp", usedforsecurity=False).hexdigest()
    end = f"{utc_now() + timedelta(hours=expires):%Y-%m-%dT%H:%M:%SZ}"
    (cache / f"{name}.json").write_text(json.dumps({"accessToken": "pl4nted", "expiresAt": end}))
    with endpoints.always(answer) as server:
        installation.env |= {
            "AWS_PROFILE": "prod",
            "AWS_ENDPOINT_URL_SSO": server.url,
            "AWS_ENDPOINT_URL_SSO_OIDC": server.url,
        }
        output = output_of(installation.run_command("check"))
    assert words in output
    assert 'the profile "prod" (AWS_PROFILE)' in output
    assert "pl4nted" not in output


def test_unreadable_sso_cache_is_named(installation: Installation) -> None:
    config(installation, SSO)
    installation.env["AWS_PROFILE"] = "prod"
    cache = installation.directory / ".aws/sso/cache"
    cache.mkdir(parents=True)
    name = hashlib.sha1(b"corp", usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text("{")
    output = output_of(installation.run_command("check"))
    assert f"{cache}/{name}.json" in output
    assert "aws sso login --profile prod" in output


@pytest.mark.parametrize("broken", ["[default\n", "nonsense\n", "[profile other]\n"])
def test_stored_keys_work_beside_a_broken_profile(
    installation: Installation, bus: StrictEventBridge, broken: str
) -> None:
    for name, value in (("aws-access-key-id", KEY.id), ("aws-secret-access-key", KEY.secret)):
        assert installation.run_command("keys", "set", name, stdin=value).code == 0
    config(installation, broken)
    installation.env |= {"AWS_PROFILE": "missing", "AWS_ENDPOINT_URL_STS": bus.url}
    output = output_of(installation.run_command("check"), 0)
    assert "keys from the vault" in output
    output_of(installation.run_command("once"), 0)
    assert sent(bus) == ["a"]


def test_check_without_an_endpoint_of_sts_succeeds_with_the_bus(installation: Installation) -> None:
    installation.env |= {"AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": KEY.secret}
    installation.env["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:9"
    done = installation.run_command("check")
    output = output_of(done, 0)
    assert (marks(done)["AWS identity"], marks(done)["event bus"]) == ("–", "✓")
    assert "not confirmed" in output
    assert "the connection is refused" in output


def test_check_names_keys_unknown_to_aws(installation: Installation, bus: StrictEventBridge) -> None:
    installation.env |= {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN", "AWS_SECRET_ACCESS_KEY": "pl4nted"}
    installation.env["AWS_ENDPOINT_URL_STS"] = bus.url
    output = output_of(installation.run_command("check"))
    assert "the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in output
    assert "InvalidClientTokenId" in output
    assert "pl4nted" not in output


def test_check_names_a_wrong_clock(installation: Installation) -> None:
    installation.env |= {"AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": "pl4nted"}
    with endpoints.always(sts.error(403, "SignatureDoesNotMatch", "Signature expired: 1 is earlier than 2")) as server:
        installation.env["AWS_ENDPOINT_URL_STS"] = server.url
        assert "clock" in output_of(installation.run_command("check"))


class BrokenClock(QuickClock):
    def monotonic(self) -> float:
        raise ZeroDivisionError


async def test_fault_in_one_step_of_check_leaves_the_others(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (installation.environment() | {"AWS_PROFILE": "missing"}).items():
        monkeypatch.setenv(name, value)
    (installation.directory / "forwarder.db").mkdir()
    config_source = resolve_config(installation.settings_file)
    found = {step.name: step async for step in run_checks(config_source, BrokenClock(), check_web_ui)}
    assert list(found) == [name for name in STEPS if name != "workflows"]
    broken = found["logs API"].error
    assert broken is not None
    assert (broken.message, broken.exit_code) == ("failed inside the forwarder: ZeroDivisionError", 1)
    assert found["vault"].error is None


def test_wrong_settings_leave_the_checks_of_vault_and_ledger(installation: Installation) -> None:
    installation.change("destination", region="nowhere")
    done = installation.run_command("check")
    output_of(done, 78)
    assert marks(done) == {"settings": "✗", "vault": "✓", "counters": "✓"}
