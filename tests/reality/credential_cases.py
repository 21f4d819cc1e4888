"""The cases of failing providers of the AWS credential chain, in one table for each provider."""

from typing import NamedTuple

from tests.fakes.eventbridge import KEY
from tests.reality.aws_chain import SECRET

ARN = "arn:aws:iam::123456789012:role/publisher"
CONFIG, SHARED, TOKEN = ".aws/config", ".aws/credentials", "token"
WEB = {"AWS_ROLE_ARN": ARN, "AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/token"}
WEB_VARIABLE, FULL = "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
CONTAINER_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
PROCESS = "[default]\ncredential_process = {home}/keys.sh\n"
SSO = "[default]\nsso_start_url=https://x\nsso_region=eu-west-1\nsso_account_id=1\nsso_role_name=r\n"
ROLE_OF = f"[default]\nrole_arn = {ARN}\n"
PAIR = {"AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": f"{SECRET}-secret"}


class Case(NamedTuple):
    """The environment and files of a case, and the expected words of the message and the hint."""

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
    "no login of `aws login`": Case(
        {"AWS_PROFILE": "prod"},
        {CONFIG: "[profile prod]\nlogin_session=arn:aws:iam::123456789012:user/x\n"},
        ("the login session of", '"prod"', "{home}/.aws/config"),
    ),
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
