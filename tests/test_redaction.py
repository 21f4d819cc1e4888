"""No planted secret survives, and nothing else is lost."""

import base64
import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from forwarder.redaction import REDACTED, Redactor
from forwarder.redaction.redactor import CUT_MARK, MAX_TEXT_CHARACTERS
from tests.factories import examples, texts, trees

# The letters form no known pattern, name or scheme, and no other text contains them.
SECRET = "s3cr3tQzXwVvKkJjYy"

NAMES = [
    *("authorization", "Authorization", "Proxy-Authorization", "X-Api-Key", "api_key", "apiKey", "API-KEY"),
    *("cookie", "Set-Cookie", "set_cookie", "password", "user_password", "newPassword", "passwd", "pwd", "secret"),
    *("client_secret", "clientSecret", "token", "access_token", "refreshToken", "id-token", "X-Amz-Security-Token"),
    *("private_key", "secretKey", "aws_secret_access_key", "AccessKeyId", "signing key", "session_id", "credentials"),
    *("x-forwarded-for", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "remoteAddress", "ip", "ip_address"),
    *("accessKey", "encryption_key", "Ocp-Apim-Subscription-Key", "passphrase", "Forwarded"),
]
IN_QUERIES = [name for name in NAMES if " " not in name]

BASIC = base64.b64encode(b"user:" + SECRET.encode()).decode()
KEY_ID = "AKIAQZXWVVKKJJYYQZXW"
SESSION_KEY_ID = "ASIAQZXWVVKKJJYYQZXW"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJRelh3VnZLayJ9.c2lnbmF0dXJlUXpYd1Z2S2s"  # gitleaks:allow
PLANTED = (SECRET, BASIC, KEY_ID, SESSION_KEY_ID, TOKEN, "QZXWVVKK", "QzXwVvKk")

# The text around a secret. It must not prevent the redaction.
prose = st.sampled_from(
    ["", " ", "call failed: ", "GET ", "\n", "- ", "Grüße, 🫖 ", "x=1 ", '"', "'", "(", "error at "]
)
endings = st.sampled_from(["", " ", " and more", "\n", " 🫖", '"', "'", ")", ", next", "&page=2", " HTTP/1.1"])


def spellings(name: str) -> list[str]:
    return [
        f"{name}={SECRET}",
        f"https://shop.example/hook?page=1&{name}={SECRET}&q=2",
        f"https://shop.example/hook?{name}={SECRET}",
        f"{name}={SECRET}; Path=/",
    ]


def quoted(value: object, times: int) -> str:
    """Return the value as JSON, quoted as a JSON string `times` - 1 times."""
    text = json.dumps(value)
    for _ in range(times - 1):
        text = json.dumps(text)
    return text


shapes = st.sampled_from(
    [
        f"Bearer {SECRET}",
        f"bearer {SECRET}",
        f"BEARER  {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}",
        f"Basic {BASIC}",
        f"basic {BASIC}",
        f"https://user:{SECRET}@shop.example/path",
        f"postgres://{SECRET}@db.example:5432/orders",
        f"amqps://user:{SECRET}@queue",
        KEY_ID,
        SESSION_KEY_ID,
        TOKEN,
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    ]
) | st.sampled_from(IN_QUERIES).flatmap(lambda name: st.sampled_from(spellings(name)))

# JSON in the middle of a text, as when an error quotes a body or headers. It may be escaped as a part of other JSON.
quoted_json = st.builds(
    lambda name, value, times: quoted({"a": 1, name: value, "b": [2]}, times),
    st.sampled_from(NAMES),
    st.sampled_from([SECRET, f"Bearer {SECRET}", f'{SECRET}", "x', [SECRET], ["a", f"b={SECRET}"]]),
    st.integers(1, 3),
)

strings = st.builds(lambda before, shape, after: before + shape + after, prose, shapes | quoted_json, endings)

secrets = st.sampled_from([SECRET, [SECRET], {"inner": SECRET}, {"a": [{"b": SECRET}]}])

by_name = st.builds(lambda name, value: {name: value}, st.sampled_from(NAMES), secrets)
by_pair = st.builds(
    lambda name, key, value, more: {key: name, "value": value, **more},
    st.sampled_from(NAMES),
    st.sampled_from(["name", "key", "header"]),
    secrets,
    st.dictionaries(st.sampled_from(["id", "enabled", "note"]), texts, max_size=2),
)

# Values that hold a secret, with a secret name or in a known format, also in JSON that is itself a string.
plants = st.recursive(
    by_name | by_pair | strings,
    lambda inner: (
        st.builds(json.dumps, inner)
        | st.builds(lambda item, others: {**others, "kept": item}, inner, st.dictionaries(texts, texts, max_size=2))
        | st.builds(lambda item, others: [*others, item], inner, st.lists(texts, max_size=2))
    ),
    max_leaves=3,
)


def surviving(value: Any) -> list[str]:
    """Return the planted secrets that are left in the value, in any layer of escaping."""
    text = json.dumps(value, ensure_ascii=False)
    return [planted for planted in PLANTED if planted in text]


@given(plants)
@examples(600)
def test_no_planted_secret_survives(tree: Any) -> None:
    assert surviving(tree)
    assert surviving(Redactor().tree(tree)) == []


@given(plants, trees)
@examples(150)
def test_secret_beside_other_data_is_redacted(tree: Any, other: Any) -> None:
    assert surviving(Redactor().tree({"a": other, "b": [tree, other], "c": {"d": tree}})) == []


@given(trees)
@examples(150)
def test_redacting_again_changes_nothing(tree: Any) -> None:
    once = Redactor().tree(tree)
    assert Redactor().tree(once) == once


@given(strings, st.sampled_from(IN_QUERIES))
@examples(100)
def test_secret_in_field_name_is_redacted(text: str, name: str) -> None:
    assume(name not in text)
    assert surviving(Redactor().tree({text: 1})) == []


def test_number_of_a_pin_is_no_count() -> None:
    tree = {"pass": 482913, "user": {"pass": 12}, "tokens": 51234}
    assert Redactor().tree(tree) == {"pass": "[redacted]", "user": {"pass": 12}, "tokens": 51234}


def test_values_in_a_flat_list_of_headers_are_redacted() -> None:
    """Node.js lists them as `rawHeaders`. A list of names, such as that of required fields, stays as it is."""
    headers = ["Host", "shop.example", "X-Api-Key", "SuperSecretValue", "Authorization", "opaquetoken"]
    assert Redactor().tree(headers) == ["Host", "shop.example", "X-Api-Key", REDACTED, "Authorization", REDACTED]
    for names in (["username", "password", "email"], ["Content-Type", "X-Api-Key", "Accept"]):
        assert Redactor().tree(names) == names


def test_cut_text_says_so() -> None:
    text = Redactor().tree({"log": "x" * MAX_TEXT_CHARACTERS + "THE END"})["log"]
    assert text.endswith(CUT_MARK)
    assert len(text) == MAX_TEXT_CHARACTERS + len(CUT_MARK)
