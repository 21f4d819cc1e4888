"""The redaction hides secrets, keeps everything else, and takes linear time."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.redaction import MAX_DEPTH, REDACTED, Redactor
from tests.factories import examples, is_linear

SECRET = "s3cr3tQzXwVvKkJjYy"


# Letters and names that cannot form a secret.
harmless_texts = st.text("abcxyz ÄÖ🫖-.,/{}[]()!?#\n", max_size=60)
harmless_names = st.sampled_from(["orderId", "name", "value", "key", "items", "street", "tokenize", "secretary", "ipo"])
harmless = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | harmless_texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(harmless_names, inner, max_size=5),
    max_leaves=30,
)


@given(harmless)
@examples(150)
def test_tree_without_secrets_is_unchanged(tree: Any) -> None:
    assert Redactor().tree(tree) == tree


@pytest.mark.parametrize(
    "text",
    [
        "the bearer token is missing",
        "Basic authentication failed",
        "basic plan of 20 EUR",
        "https://shop.example/a@b?page=2&limit=30",
        "ratio=0.5; page=2",
        '{"page": 2, "items": ["a", "b"]}',
        "Error: SKU-1: not found\n    at settle (/app/index.js:19:12)",
        "2026-11-02T12:00:00.000Z",
        "AKIA",
        "eyJ",
        "mail to zoe@shop.example",
        "Content-Type: application/json\nContent-Length: 12",
    ],
)
def test_text_that_resembles_a_secret_is_kept(text: str) -> None:
    assert Redactor().text(text) == text


def test_redacted_text_keeps_everything_else() -> None:
    redact = Redactor().text
    assert redact("GET https://u:p@shop.example/a?page=2&api_key=k&q=z failed") == (
        f"GET https://{REDACTED}@shop.example/a?page=2&api_key={REDACTED}&q=z failed"
    )
    assert redact("sent Authorization: Bearer abc.def, got 401") == f"sent Authorization: Bearer {REDACTED}, got 401"
    assert redact('{"password": "x", "user": "zoe"}') == f'{{"password":"{REDACTED}","user":"zoe"}}'


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example/?redirect=https://b.example/?token=QzXw",
        "https://a.example/?redirect=https%3A%2F%2Fb.example%2F%3Ftoken%3DQzXw",
        "next=token=QzXw",
        "page=1;q=a b;ip=QzXw",
        "user%5Btoken%5D=QzXw",
        "user[token]=QzXw",
        "%26ip%3DQzXw",
        "x" * 200 + "token=QzXw",
    ],
)
def test_pair_within_another_value_is_redacted(text: str) -> None:
    assert Redactor().text(text) == text.replace("QzXw", REDACTED)


@pytest.mark.parametrize("value", ["[7]", "{7}", "[75"])
def test_shortest_nested_value_of_a_secret_name_is_hidden(value: str) -> None:
    assert Redactor().text(f"call failed: password={value}") == f"call failed: password={REDACTED}"


@pytest.mark.parametrize(("prefix", "length"), [("sk-", 40), ("EAA", 60)])
def test_key_whose_prefix_starts_a_longer_one_is_hidden(prefix: str, length: int) -> None:
    """`sk-` also starts `sk-ant-`, and `EAA` also starts `EAAA`."""
    assert Redactor().text(f"used {prefix}{'Z' * length}") == f"used {REDACTED}"


@pytest.mark.parametrize("value", [None, True, False])
def test_constant_under_a_secret_name_is_kept(value: object) -> None:
    assert Redactor().tree({"password": value}) == {"password": value}


@pytest.mark.parametrize("value", ["text", 12345, 1.5, ["a"], {"a": "b"}, [], {}])
def test_value_under_a_secret_name_is_hidden_whole(value: object) -> None:
    assert Redactor().tree({"password": value}) == {"password": REDACTED}


@given(st.sampled_from(["tenant", "Tenant-Id", "x_tenant"]))
@examples(10)
def test_added_name_is_redacted(spelt: str) -> None:
    redactor = Redactor(redact=["tenant", "tenantId", "X-Tenant"])
    assert redactor.tree({spelt: SECRET, "other": "kept"}) == {spelt: REDACTED, "other": "kept"}
    assert redactor.text(f"https://x.example/?{spelt}={SECRET}&a=b") == f"https://x.example/?{spelt}={REDACTED}&a=b"


def test_excepted_name_is_kept_and_no_other() -> None:
    redactor = Redactor(redact_except=["X-Forwarded-For", "sessionId"])
    tree = {"x-forwarded-for": "203.0.113.7", "session_id": "s-1", "x-real-ip": "203.0.113.7"}
    assert redactor.tree(tree) == {**tree, "x-real-ip": REDACTED}
    assert redactor.text("session_id=s-1&password=x") == f"session_id=s-1&password={REDACTED}"


def test_excepted_name_does_not_except_a_pattern() -> None:
    assert Redactor(redact_except=["authorization"]).tree({"authorization": f"Bearer {SECRET}"}) == {
        "authorization": f"Bearer {REDACTED}"
    }


def test_tree_is_cut_at_the_maximum_depth() -> None:
    tree: Any = SECRET
    for _ in range(100_000):
        tree = [tree]
    shallow, depth = Redactor().tree(tree), 0
    while isinstance(shallow, list):
        shallow, depth = shallow[0], depth + 1
    assert depth <= MAX_DEPTH + 1


def test_deeply_nested_json_text_is_redacted() -> None:
    text = json.dumps({"password": SECRET})
    for _ in range(12):
        text = json.dumps([text])
    assert SECRET not in Redactor().text(text)


@given(st.integers(-(2**80), 2**80))
@examples(50)
def test_integer_beyond_64_bits_becomes_text(number: int) -> None:
    expected = number if -(2**63) <= number < 2**63 else str(number)
    assert Redactor().tree([number]) == [expected]


QUARTER = 1 << 18


@pytest.mark.parametrize(
    "bit",
    [
        *(
            "a",
            "a=",
            "=",
            ":",
            '"',
            "'",
            "\\",
            '\\"',
            '"a": ',
            "'a': ",
            "{",
            "[",
            "[{",
            "a@",
            "://",
            "a://",
            "http://a",
        ),
        *(
            "Bearer ",
            "bearer:",
            "Basic ",
            "basic aaaa",
            "basic aaaa=",
            "AKIA",
            "AKIAAAAAAAAA",
            "eyJ",
            "eyJaaaaa.",
            "eyJaaaaa.aa.",
        ),
        *(
            "-----BEGIN ",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN A PRIVATE KEY",
            "token=",
            "token: ",
            '"token": "',
            "\ntoken:",
        ),
        *(
            '\\\\"token\\": \\"',
            "a.b-c%20",
            "%5B",
            "a%5B=",
            "a%3D",
            "a = ",
            " \t",
            "\n",
            "ü",
            "_",
            "0",
            "token=a&",
            "x-forwarded-for: 1\n",
            "}{",
            "],[",
        ),
    ],
)
def test_hostile_text_takes_linear_time(bit: str) -> None:
    """A pattern with quadratic backtracking does not end on these texts in reasonable time."""
    assert is_linear(Redactor().text, bit)
    assert isinstance(Redactor().text(bit * (QUARTER // len(bit))), str)


@given(st.text())
@examples(150)
def test_any_text_is_accepted(text: str) -> None:
    assert isinstance(Redactor().text(text), str)
