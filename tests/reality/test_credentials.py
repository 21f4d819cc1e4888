"""Every failing provider of the AWS chain gives one line with its cause, its file or variable, and a hint.

The tables are tested inside this process. `test_credentials_program.py` tests examples with the program.
"""

from datetime import timedelta
from pathlib import Path

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
from tests.reality.credential_cases import ARN, FULL, PROFILES, TABLES, TOKEN, VARIABLES, WEB, Case

SESSION = Key("ASIAPLANTED000000009", f"{SECRET}-secret", f"{SECRET}-token", utc_now() + timedelta(hours=9), ARN)
CASES = [pytest.param(case, id=f"{name}: {of}") for name, table in TABLES.items() for of, case in table.items()]


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    return Chain(tmp_path, monkeypatch)


@pytest.mark.parametrize("case", CASES)
async def test_failing_provider_names_its_cause_and_a_hint(case: Case, chain: Chain) -> None:
    chain.plant(case.env, case.files)
    error = await chain.refusal()
    assert (error.exit_code, error.code) == (77, "credentials")
    lacking = [word for word in case.message if word.replace("{home}", str(chain.home)) not in error.message]
    assert not lacking, error.message
    assert error.hint
    assert not [word for word in case.hint if word not in error.hint], error.hint


@pytest.mark.parametrize("case", [*PROFILES.values(), VARIABLES["a number that is none"]])
async def test_stored_keys_work_with_any_profile(case: Case, chain: Chain) -> None:
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
async def test_refused_web_identity_names_file_and_role(
    token: str, answer: HttpResponse | None, words: str, hint: str, chain: Chain
) -> None:
    with endpoints.web_identities({} if answer is None else {SECRET + token: answer}) as server:
        chain.plant(WEB | {"AWS_ENDPOINT_URL_STS": server.url}, {TOKEN: SECRET + token})
        error = await chain.refusal()
    assert (error.exit_code, error.code) == (77, "credentials")
    assert f"{chain.home}/token (AWS_WEB_IDENTITY_TOKEN_FILE)" in error.message
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
async def test_sts_outage_is_not_a_refusal_of_the_keys(answer: HttpResponse, code: str, chain: Chain) -> None:
    with endpoints.always(answer) as server:
        chain.plant(WEB | {"AWS_ENDPOINT_URL_STS": server.url}, {TOKEN: SECRET})
        error = await chain.refusal()
    assert (error.exit_code, error.code) == (69, code), error


async def test_renewed_web_identity_gives_keys(chain: Chain) -> None:
    with endpoints.web_identities({SECRET: SESSION}) as server:
        chain.plant(WEB | {"AWS_ENDPOINT_URL_STS": server.url}, {TOKEN: "old"})
        identity = chain.identity()
        session = identity.session()
        await chain.refusal()
        (chain.home / TOKEN).write_text(SECRET)
        assert (await load_keys(session)).access_key == SESSION.id


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HttpResponse(404), "status 404"),
        (endpoints.answer({"message": SECRET}, 400), "status 400"),
        (HttpResponse(400, {}, f"{SECRET}: token is expired".encode()), "status 400, because the token has expired"),
        (
            HttpResponse(400, {}, b"(ExpiredTokenException): The token included in the request is expired"),
            "has expired",
        ),
        (HttpResponse(200, {}, SECRET.encode()), "not JSON"),
        (endpoints.answer([]), "not a JSON object"),
        (endpoints.answer({"SecretAccessKey": SECRET}), "AccessKeyId is missing"),
        (endpoints.answer(endpoints.credentials(SESSION) | {"Expiration": "soon"}), "no readable time"),
        (endpoints.answer(endpoints.credentials(SESSION) | {"Expiration": "2020-01-01T00:00:00Z"}), "expired"),
    ],
)
async def test_failing_container_endpoint_is_named(answer: HttpResponse, words: str, chain: Chain) -> None:
    with endpoints.always(answer) as server:
        chain.plant({FULL: f"{server.url}/keys?token={SECRET}"}, {})
        error = await chain.refusal()
    assert error.exit_code == 77
    assert f"{server.url}/keys ({FULL})" in error.message
    assert words in error.message


@pytest.mark.parametrize(
    ("roles", "credentials", "words"),
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
async def test_metadata_without_credentials_names_the_reason(
    roles: HttpResponse, credentials: HttpResponse, words: str, chain: Chain
) -> None:
    with endpoints.metadata(roles, credentials) as server:
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
async def test_unreachable_metadata_is_named(env: dict[str, str], words: str, chain: Chain) -> None:
    chain.plant({"AWS_EC2_METADATA_DISABLED": "false"} | env, {})
    error = await chain.refusal()
    assert (error.exit_code, words in error.message) == (77, True), error


async def test_timeout_of_metadata_names_the_hop_limit(chain: Chain) -> None:
    with endpoints.silence() as server:
        metadata = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}
        chain.plant(metadata, {})
        error = await chain.refusal()
    assert "hop limit" in error.message


async def test_keys_of_metadata_and_container_are_used(chain: Chain) -> None:
    credentials = endpoints.answer(endpoints.credentials(SESSION))
    with endpoints.metadata(HttpResponse(200, {}, b"worker"), credentials) as server:
        metadata = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}
        for env in (metadata, {FULL: f"{server.url}/keys"}):
            chain.plant(env, {})
            if FULL in env:
                with endpoints.always(credentials) as container:
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
async def test_refused_role_names_role_and_fix(code: str, message: str, hint: str, chain: Chain) -> None:
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
