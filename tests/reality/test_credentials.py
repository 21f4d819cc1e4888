"""Every provider of the AWS chain that fails gives one line with its cause, its file or variable, and a hint.

The table is tried inside this process; `test_credentials_program.py` tries representatives with the program.
"""

from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from forwarder.aws.credential_chain import load_keys
from tests.aws.harness import stored_keys
from tests.fakes import credential_endpoints as endpoints
from tests.fakes import sts
from tests.fakes.actions import HttpResponse
from tests.fakes.eventbridge import KEY, StrictEventBridge
from tests.fakes.signing import Key
from tests.fakes.wire import utc_now
from tests.reality.aws_chain import SECRET, Chain

ARN = "arn:aws:iam::123456789012:role/publisher"
SESSION = Key("ASIAPLANTED000000009", f"{SECRET}-secret", f"{SECRET}-token", utc_now() + timedelta(hours=9), ARN)
CONFIG, SHARED, TOKEN = ".aws/config", ".aws/credentials", "token"
WEB = {"AWS_ROLE_ARN": ARN, "AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/token"}
WEB_VARIABLE, FULL = "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
CONTAINER_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
PROCESS = "[default]\ncredential_process = {home}/keys.sh\n"
SSO = "[default]\nsso_start_url=https://x\nsso_region=eu-west-1\nsso_account_id=1\nsso_role_name=r\n"
ROLE_OF = f"[default]\nrole_arn = {ARN}\n"
PAIR = {"AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": f"{SECRET}-secret"}


class Case(NamedTuple):
    """What is planted, and the words that the message and the hint have."""

    env: dict[str, str]
    files: dict[str, str | bytes]
    message: tuple[str, ...]
    hint: tuple[str, ...] = ()


def script(text: str) -> dict[str, str | bytes]:
    return {CONFIG: PROCESS, "keys.sh": f"#!/bin/sh\n{text}\n"}


PROFILES = {
    "missing": Case({"AWS_PROFILE": "prod"}, {}, ('"prod"', "AWS_PROFILE", "{home}/.aws/config"), ("--profile prod",)),
    "missing by the older variable": Case(
        {"AWS_DEFAULT_PROFILE": "a", "AWS_PROFILE": "b"}, {}, ('"a"', "AWS_DEFAULT_PROFILE"), ("AWS_DEFAULT_PROFILE",)
    ),
    "empty": Case({"AWS_PROFILE": ""}, {}, ("AWS_PROFILE", "empty"), ("unset AWS_PROFILE",)),
    "with quotes": Case({"AWS_PROFILE": '"prod"'}, {CONFIG: "[profile prod]\n"}, ("AWS_PROFILE", "quotes")),
    "with a line break": Case({"AWS_PROFILE": "prod\n"}, {CONFIG: "[profile prod]\n"}, ("AWS_PROFILE", "line break")),
    "config without a section": Case({}, {CONFIG: f"key={SECRET}\n"}, ("{home}/.aws/config, line 1",), ("[profile",)),
    "config cut short": Case({}, {CONFIG: "[default\n"}, ("{home}/.aws/config, line 1",)),
    "config with a key twice": Case({}, {CONFIG: "[default]\na=1\na=2\n"}, ("{home}/.aws/config, line 3",)),
    "config in UTF-16": Case({}, {CONFIG: "[default]\n".encode("utf-16")}, ("{home}/.aws/config", "UTF-8")),
    "config elsewhere": Case(
        {"AWS_CONFIG_FILE": "{home}/mine"}, {"mine": "nonsense\n"}, ("{home}/mine", "AWS_CONFIG_FILE", "line 1")
    ),
    "credentials with a bare line": Case(
        {}, {SHARED: f"[default]\naws_access_key_id = AKIA\n{SECRET}\n"}, ("{home}/.aws/credentials, line 3",)
    ),
    "credentials without the secret": Case(
        {}, {SHARED: "[default]\naws_access_key_id=AKIA\n"}, ("{home}/.aws/credentials", "aws_secret_access_key")
    ),
    "credentials with quotes": Case(
        {},
        {SHARED: f"[default]\naws_access_key_id=AKIA\naws_secret_access_key='{SECRET}'\n"},
        ("{home}/.aws/credentials", "aws_secret_access_key", "quotes"),
    ),
    "loop": Case(
        {"AWS_PROFILE": "a"},
        {CONFIG: f"[profile a]\nrole_arn={ARN}\nsource_profile=b\n[profile b]\nrole_arn={ARN}\nsource_profile=a\n"},
        ('"a"', "{home}/.aws/config", "oop"),
        ("source_profile",),
    ),
    "source that does not exist": Case({}, {CONFIG: f"{ROLE_OF}source_profile=b\n"}, ('"b"', "{home}/.aws/config")),
    "role without a source": Case({}, {CONFIG: ROLE_OF}, ("source_profile or credential_source", "{home}/.aws/config")),
    "unknown credential_source": Case({}, {CONFIG: f"{ROLE_OF}credential_source=Foo\n"}, ("Foo", "{home}/.aws/config")),
    "empty credential_source": Case(
        {}, {CONFIG: f"{ROLE_OF}credential_source=Environment\n"}, ("credential_source Environment",)
    ),
    "source with a program that is missing": Case(
        {},
        {CONFIG: f"{ROLE_OF}source_profile=b\n[profile b]\ncredential_process={{home}}/nothing\n"},
        ("source_profile b", "{home}/nothing cannot be started"),
    ),
    "MFA": Case(
        {},
        {
            CONFIG: f"{ROLE_OF}source_profile=b\nmfa_serial=arn:aws:iam::1:mfa/x\n"
            f"[profile b]\naws_access_key_id=AKIA\naws_secret_access_key={SECRET}\n"
        },
        ("MFA", "{home}/.aws/config"),
        ("mfa_serial",),
    ),
    "keys, but a profile that is missing": Case(PAIR | {"AWS_PROFILE": "prod"}, {}, ('"prod"', "AWS_PROFILE")),
}

WEB_IDENTITIES = {
    "missing": Case(WEB, {}, ("{home}/token", WEB_VARIABLE, "No such file"), (WEB_VARIABLE,)),
    "a directory": Case(WEB, {"token/x": ""}, ("{home}/token", WEB_VARIABLE, "directory")),
    "empty": Case(WEB, {TOKEN: ""}, ("{home}/token", WEB_VARIABLE, "no token")),
    "binary": Case(WEB, {TOKEN: b"\xff\xfe"}, ("{home}/token", WEB_VARIABLE)),
    "a path with a line break": Case(WEB | {WEB_VARIABLE: "/x\n"}, {}, ("/x\\n", WEB_VARIABLE)),
    "no role": Case({WEB_VARIABLE: "{home}/token"}, {TOKEN: SECRET}, ("AWS_ROLE_ARN is not set",), ("AWS_ROLE_ARN",)),
    "no ARN": Case(WEB | {"AWS_ROLE_ARN": "x"}, {TOKEN: SECRET}, ("AWS_ROLE_ARN",), ("arn:aws:iam",)),
    "no token": Case({"AWS_ROLE_ARN": ARN}, {}, ("AWS_ROLE_ARN is set, but AWS_WEB_IDENTITY_TOKEN_FILE is not set",)),
    "of a profile": Case(
        {"AWS_PROFILE": "ci"},
        {CONFIG: f"[profile ci]\nrole_arn={ARN}\nweb_identity_token_file=/nothing\n"},
        ("/nothing", 'web_identity_token_file of the profile "ci"'),
    ),
}

PROCESSES = {
    "missing": Case({}, {CONFIG: PROCESS}, ("{home}/keys.sh", "No such file")),
    "not executable": Case({}, {CONFIG: PROCESS.replace(".sh", ""), "keys": ""}, ("{home}/keys", "Permission denied")),
    "failed": Case({}, script('echo "log in first" >&2; exit 3'), ("{home}/keys.sh", "exit code 3", "log in first")),
    "failed with a secret": Case({}, script(f'echo "password={SECRET}" >&2; exit 1'), ("exit code 1",)),
    "killed": Case({}, script("kill -9 $$"), ("{home}/keys.sh", "signal 9")),
    "text": Case({}, script(f"echo {SECRET}"), ("{home}/.aws/config", "not JSON")),
    "bytes": Case({}, script(r"printf '\377\376'"), ("{home}/.aws/config",)),
    "nothing": Case({}, script("true"), ("{home}/.aws/config", "not JSON")),
    "a list": Case({}, script("echo '[]'"), ("{home}/.aws/config", "not a JSON object")),
    "without a version": Case(
        {}, script(f"""echo '{{"SecretAccessKey":"{SECRET}"}}'"""), ("ersion",), ('"Version": 1',)
    ),
    "without keys": Case({}, script("""echo '{"Version": 1}'"""), ("AccessKeyId",)),
    "null keys": Case(
        {}, script("""echo '{"Version":1,"AccessKeyId":null,"SecretAccessKey":1}'"""), ("AccessKeyId is missing",)
    ),
    "expired": Case(
        {},
        script(
            f"""echo '{{"Version":1,"AccessKeyId":"AKIA","SecretAccessKey":"{SECRET}","""
            """"Expiration":"2020-01-01T00:00:00Z"}'"""
        ),
        ("expired", "{home}/.aws/config"),
        ("clock",),
    ),
    "hanging": Case({}, script("sleep 1000 & wait"), ("credential_process", "no response in time")),
    "endless": Case({}, script(f"yes {SECRET}"), ("{home}/keys.sh", "writes more than")),
    "open quote": Case(
        {}, {CONFIG: '[default]\ncredential_process = "x\n'}, ("credential_process", "{home}/.aws/config")
    ),
    "no command": Case({}, {CONFIG: "[default]\ncredential_process =\n"}, ("credential_process is empty",)),
}

LOGINS = {
    "no login": Case({}, {CONFIG: SSO}, ("{home}/.aws/sso/cache/", "does not exist"), ("aws sso login",)),
    "no login of a profile": Case(
        {"AWS_PROFILE": "prod"},
        {
            CONFIG: "[profile prod]\nsso_session=corp\nsso_account_id=1\nsso_role_name=r\n"
            "[sso-session corp]\nsso_start_url=https://x\nsso_region=eu-west-1\n"
        },
        ('"prod"', "{home}/.aws/sso/cache/"),
        ("aws sso login --profile prod",),
    ),
    "no session": Case(
        {"AWS_PROFILE": "prod"},
        {CONFIG: "[profile prod]\nsso_session=corp\nsso_account_id=1\nsso_role_name=r\n"},
        ('"corp"', "{home}/.aws/config"),
        ("aws configure sso --profile prod",),
    ),
    "half of it": Case({}, {CONFIG: "[default]\nsso_account_id=1\n"}, ("sso_role_name", "{home}/.aws/config")),
}

CONTAINERS = {
    "refused": Case({FULL: f"http://127.0.0.1:9/keys?t={SECRET}"}, {}, ("http://127.0.0.1:9/keys", FULL), (FULL,)),
    "a host that is not allowed": Case({FULL: "http://example.com/x"}, {}, ("example.com", FULL), ("169.254.170.23",)),
    "not an address": Case({FULL: "[garbage"}, {}, (FULL,), ("169.254.170.23",)),
    "a port too large": Case({FULL: "http://127.0.0.1:99999/"}, {}, (FULL,)),
    "empty": Case({FULL: ""}, {}, (FULL, "(empty)")),
    "relative without a slash": Case(
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "keys"}, {}, ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",)
    ),
    "no token file": Case(
        {FULL: "http://127.0.0.1:9/", CONTAINER_TOKEN: "/nothing"}, {}, ("/nothing", CONTAINER_TOKEN, "No such file")
    ),
    "token with a line break": Case(
        {FULL: "http://127.0.0.1:9/", CONTAINER_TOKEN: "{home}/token"},
        {TOKEN: f"{SECRET}\n"},
        ("{home}/token", CONTAINER_TOKEN, "line break"),
    ),
}

VARIABLES = {
    "none": Case(
        {},
        {},
        ("AWS_ACCESS_KEY_ID", "{home}/.aws/config (does not exist)", FULL, "AWS_EC2_METADATA_DISABLED"),
        ("forwarder keys set aws-access-key-id", "role"),
    ),
    "only the id": Case({"AWS_ACCESS_KEY_ID": "AKIA"}, {}, ("AWS_SECRET_ACCESS_KEY is missing",), ("unset both",)),
    "only the secret": Case(
        {"AWS_SECRET_ACCESS_KEY": SECRET}, {}, ("AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not set",)
    ),
    "empty": Case({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, {}, ("AWS_ACCESS_KEY_ID is empty",)),
    "id with a line break": Case(PAIR | {"AWS_ACCESS_KEY_ID": "AKIA\n"}, {}, ("AWS_ACCESS_KEY_ID ends with a line",)),
    "secret with a line break": Case(
        PAIR | {"AWS_SECRET_ACCESS_KEY": f"{SECRET}\r\n"}, {}, ("AWS_SECRET_ACCESS_KEY ends with a line",)
    ),
    "secret with a space": Case(
        PAIR | {"AWS_SECRET_ACCESS_KEY": f" {SECRET}"}, {}, ("AWS_SECRET_ACCESS_KEY begins or ends with whitespace",)
    ),
    "secret with quotes": Case(
        PAIR | {"AWS_SECRET_ACCESS_KEY": f'"{SECRET}"'}, {}, ("AWS_SECRET_ACCESS_KEY has quotes",), ("without quotes",)
    ),
    "secret with an umlaut": Case(PAIR | {"AWS_SECRET_ACCESS_KEY": "plänted"}, {}, ("AWS_SECRET_ACCESS_KEY contains",)),
    "token in two lines": Case(PAIR | {"AWS_SESSION_TOKEN": f"{SECRET}\n1"}, {}, ("AWS_SESSION_TOKEN has whitespace",)),
    "swapped": Case(
        {"AWS_ACCESS_KEY_ID": f"{SECRET}/x+y", "AWS_SECRET_ACCESS_KEY": KEY.id}, {}, ("AWS_ACCESS_KEY_ID", "swapped")
    ),
    "id with its name": Case(PAIR | {"AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID=AKIA"}, {}, ("AWS_ACCESS_KEY_ID is not",)),
    "expired": Case(
        PAIR | {"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}, {}, ("AWS_CREDENTIAL_EXPIRATION is over",)
    ),
    "no time": Case(PAIR | {"AWS_CREDENTIAL_EXPIRATION": "soon"}, {}, ("AWS_CREDENTIAL_EXPIRATION is not a time",)),
    "a number that is none": Case({"AWS_METADATA_SERVICE_TIMEOUT": "1s"}, {}, ("AWS_METADATA_SERVICE_TIMEOUT",)),
    "an old file": Case({"AWS_CREDENTIAL_FILE": "/nothing"}, {}, ("/nothing", "AWS_CREDENTIAL_FILE")),
}

TABLES = {
    "profile": PROFILES,
    "web identity": WEB_IDENTITIES,
    "process": PROCESSES,
    "login": LOGINS,
    "container": CONTAINERS,
    "variables": VARIABLES,
}
CASES = [pytest.param(case, id=f"{name}: {of}") for name, table in TABLES.items() for of, case in table.items()]


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    return Chain(tmp_path, monkeypatch)


@pytest.mark.parametrize("case", CASES)
async def test_failing_provider_names_its_cause_and_a_hint(case: Case, chain: Chain) -> None:
    chain.plant(case.env, case.files)
    error = await chain.refusal()
    assert (error.exit_code, error.code) == (77, "credentials")
    lacking = [word for word in case.message if word.replace("{home}", str(chain.place)) not in error.message]
    assert not lacking, error.message
    assert error.hint
    assert not [word for word in case.hint if word not in error.hint], error.hint


@pytest.mark.parametrize("case", [*PROFILES.values(), VARIABLES["a number that is none"]])
async def test_stored_keys_depend_on_no_profile(case: Case, chain: Chain) -> None:
    chain.plant(case.env | {"AWS_PROFILE": "missing"}, case.files)
    session = chain.identity(stored_keys()).session()
    assert (await load_keys(session)).access_key == KEY.id
    async with session.create_client("events") as events:
        assert events.meta.endpoint_url == "https://events.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("token", "answer", "words", "hint"),
    [
        ("a", sts.error(400, "ExpiredTokenException", "Token expired"), "ExpiredTokenException", "recreate the pod"),
        ("b", sts.error(403, "AccessDenied", "Not authorized"), "AccessDenied", f"trust policy of {ARN}"),
        ("c", None, "InvalidIdentityToken", "OIDC provider"),
        ("d", sts.error(400, "ValidationError", "RoleArn is wrong"), "ValidationError", ARN),
    ],
)
async def test_a_refused_web_identity_names_file_and_role(
    token: str, answer: HttpResponse | None, words: str, hint: str, chain: Chain
) -> None:
    with endpoints.web_identities({} if answer is None else {SECRET + token: answer}) as server:
        chain.plant(WEB | {"AWS_ENDPOINT_URL_STS": server.url}, {TOKEN: SECRET + token})
        error = await chain.refusal()
    assert (error.exit_code, error.code) == (77, "credentials")
    assert f"{chain.place}/token (AWS_WEB_IDENTITY_TOKEN_FILE)" in error.message
    assert words in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (HttpResponse(403, {"Content-Type": "text/html"}, b"<html>blocked</html>"), "not-aws"),
        (HttpResponse(200, {"Content-Type": "text/html"}, b"<html>hello</html>"), "not-aws"),
        (sts.error(503, "ServiceUnavailable", "later"), "unreachable"),
        (sts.error(400, "Throttling", "Rate exceeded"), "unreachable"),
    ],
)
async def test_sts_that_does_not_answer_refuses_no_keys(answer: HttpResponse, code: str, chain: Chain) -> None:
    with endpoints.always(answer) as server:
        chain.plant(WEB | {"AWS_ENDPOINT_URL_STS": server.url}, {TOKEN: SECRET})
        error = await chain.refusal()
    assert (error.exit_code, error.code) == (69, code), error


async def test_a_renewed_web_identity_gives_keys(chain: Chain) -> None:
    with endpoints.web_identities({SECRET: SESSION}) as server:
        chain.plant(WEB | {"AWS_ENDPOINT_URL_STS": server.url}, {TOKEN: "old"})
        identity = chain.identity()
        session = identity.session()
        await chain.refusal()
        (chain.place / TOKEN).write_text(SECRET)
        assert (await load_keys(session)).access_key == SESSION.id


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HttpResponse(404), "status 404"),
        (endpoints.answer({"message": SECRET}, 400), "status 400"),
        (HttpResponse(200, {}, SECRET.encode()), "not JSON"),
        (endpoints.answer([]), "not a JSON object"),
        (endpoints.answer({"SecretAccessKey": SECRET}), "AccessKeyId is missing"),
        (endpoints.answer(endpoints.credentials(SESSION) | {"Expiration": "soon"}), "no readable time"),
        (endpoints.answer(endpoints.credentials(SESSION) | {"Expiration": "2020-01-01T00:00:00Z"}), "expired"),
    ],
)
async def test_a_container_endpoint_that_fails_is_named(answer: HttpResponse, words: str, chain: Chain) -> None:
    with endpoints.always(answer) as server:
        chain.plant({FULL: f"{server.url}/keys?token={SECRET}"}, {})
        error = await chain.refusal()
    assert error.exit_code == 77
    assert f"{server.url}/keys ({FULL})" in error.message
    assert words in error.message


@pytest.mark.parametrize(
    ("roles", "given", "words"),
    [
        (HttpResponse(404), HttpResponse(404), "has no role"),
        (
            HttpResponse(200, {}, b"worker"),
            endpoints.answer({"Code": "AssumeRoleUnauthorizedAccess", "Message": "x"}),
            "a role",
        ),
        (HttpResponse(200, {}, b"worker"), HttpResponse(500), "a role"),
    ],
)
async def test_metadata_without_credentials_says_why(
    roles: HttpResponse, given: HttpResponse, words: str, chain: Chain
) -> None:
    with endpoints.metadata(roles, given) as server:
        metadata = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}
        chain.plant(metadata, {})
        error = await chain.refusal()
    assert error.exit_code == 77
    assert f"instance metadata at {server.url}/" in error.message
    assert words in error.message


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
        ({"HTTP_PROXY": f"http://u:{SECRET}@127.0.0.1:9"}, "proxy"),
    ],
)
async def test_metadata_out_of_reach_is_named(env: dict[str, str], words: str, chain: Chain) -> None:
    chain.plant({"AWS_EC2_METADATA_DISABLED": "false"} | env, {})
    error = await chain.refusal()
    assert (error.exit_code, words in error.message) == (77, True), error


async def test_metadata_that_is_silent_names_the_hop_limit(chain: Chain) -> None:
    with endpoints.silence() as server:
        metadata = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}
        chain.plant(metadata, {})
        error = await chain.refusal()
    assert "hop limit" in error.message


async def test_keys_of_metadata_and_of_a_container_are_used(chain: Chain) -> None:
    given = endpoints.answer(endpoints.credentials(SESSION))
    with endpoints.metadata(HttpResponse(200, {}, b"worker"), given) as server:
        metadata = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}
        for env in (metadata, {FULL: f"{server.url}/keys"}):
            chain.plant(env, {})
            if FULL in env:
                with endpoints.always(given) as container:
                    chain.plant({FULL: container.url}, {})
                    assert (await load_keys(chain.identity().session())).token == SESSION.token
            else:
                assert (await load_keys(chain.identity().session())).token == SESSION.token


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        ("AccessDenied", "not authorized to perform: sts:AssumeRole", "external_id"),
        ("ValidationError", "DurationSeconds exceeds the MaxSessionDuration", "maximum session duration"),
        ("InvalidClientTokenId", "The security token included in the request is invalid", "partition"),
        ("SignatureDoesNotMatch", "The request signature we calculated does not match", "secret access key"),
        ("SignatureDoesNotMatch", "Signature expired: 20261128T000000Z is now earlier than", "clock"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261128T000000Z is still later", "clock"),
        ("ExpiredToken", "The security token included in the request is expired", "renew"),
        ("RegionDisabledException", "STS is not activated in this region", "activate STS"),
    ],
)
async def test_a_role_that_is_refused_names_role_and_fix(code: str, message: str, hint: str, chain: Chain) -> None:
    with endpoints.always(sts.error(403, code, message)) as server:
        chain.plant({"AWS_ENDPOINT_URL_STS": server.url}, {})
        error = await chain.refusal(stored_keys(), role_arn=ARN)
    assert (error.exit_code, error.code) == (77, "credentials")
    assert f"{ARN} (destination.role_arn), assumed with the vault" in error.message
    assert code in error.message
    assert hint in error.hint


async def test_role_reports_its_source_provider(chain: Chain) -> None:
    chain.plant(WEB, {})
    error = await chain.refusal(role_arn=ARN)
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in error.message


async def test_role_request_to_sts_ends(chain: Chain) -> None:
    with StrictEventBridge() as bridge:
        bridge.roles[ARN] = None
        chain.plant({"AWS_ENDPOINT_URL_STS": bridge.url, "AWS_PROFILE": "missing"}, {})
        keys = await load_keys(chain.identity(stored_keys(), role_arn=ARN).session())
    assert keys.token
    assert len(bridge.served) == 1
