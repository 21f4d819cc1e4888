"""Planted secrets in the formats of clients are redacted, and few harmless texts that resemble them are."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forwarder.intake.transform import EventBuilder
from forwarder.model import Execution, Feed
from forwarder.redaction import Redactor
from forwarder.redaction.matching import cannot_match
from forwarder.redaction.patterns import TABLE
from forwarder.redaction.sensitive_names import secret_names
from forwarder.redaction.vendors import KEY_FORMATS
from forwarder.redaction.words import EXACT_NAMES, SECRET_KEY_WORDS, SECRET_WORDS

HERE = Path(__file__).parent
MAX_HARMLESS_CHANGED = 0.05
MIN_TEXTS = 250
_SECRET = re.compile(r"pl4nted[\w/@#+-]{0,2}\d{4}|pl4nted\w{0,12}|plantedword")


def lines(name: str) -> list[str]:
    """Return the texts of a data file. A line that starts with "@" has its line ends escaped."""
    every = (HERE / name).read_text(encoding="utf-8").splitlines()[1:]
    return [
        line[1:].replace("\\r", "\r").replace("\\n", "\n") if line.startswith("@") else line for line in every if line
    ]


PLANTED, HARMLESS = lines("planted.txt"), lines("harmless.txt")


def survivors(before: str, after: Any) -> list[str]:
    shown = json.dumps(after, ensure_ascii=False)
    return [secret for secret in _SECRET.findall(before) if secret in shown or secret[-8:] in shown]


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def wrapped(text: str) -> list[Any]:
    return [
        text,
        {"message": text},
        {"stack": f"Error: x\n{text}\n    at f (/a.js:1:2)"},
        [[{"json": {"a": text}}]],
        {text: 1},
    ]


@pytest.mark.parametrize("text", PLANTED)
def test_planted_secret_is_absent_from_the_event(text: str) -> None:
    builder = EventBuilder(Redactor(), "full", 200_000)
    moment = datetime(2026, 11, 28, tzinfo=UTC)
    execution = Execution(
        id="e1",
        started_at=moment,
        stopped_at=moment,
        error=raw({"message": text, "stack": f"Error\n{text}"}),
        results=raw([{"blockId": "b", "data": [{"json": {"a": text, "nested": json.dumps({"b": text})}}]}]),
    )
    detail = builder.build(execution, Feed("w", None), moment).detail
    assert survivors(text, str(detail)) == []


def test_no_planted_secret_survives_anywhere() -> None:
    left = [text for text in PLANTED for tree in wrapped(text) if survivors(text, Redactor().tree(tree))]
    assert left == []


UNSEEN = json.loads((HERE / "unseen.json").read_text(encoding="utf-8"))
"""Texts and trees by an author who had not read the patterns: planted ones with their secrets, and harmless ones."""


def redacted(value: Any) -> Any:
    return Redactor().text(value) if isinstance(value, str) else Redactor().tree(value)


def test_secrets_of_the_unseen_list_are_absent() -> None:
    assert [text for text, secret in UNSEEN["planted"] if secret in str(redacted(text))] == []


def test_harmless_texts_of_the_unseen_list_stay() -> None:
    assert [text for text in UNSEEN["harmless"] if redacted(text) != text] == []


def test_few_harmless_texts_are_changed() -> None:
    changed = [text for text in HARMLESS if Redactor().text(text) != text]
    assert len(changed) / len(HARMLESS) <= MAX_HARMLESS_CHANGED, changed


def test_redacting_planted_text_twice_is_stable() -> None:
    redactor = Redactor()
    once = [redactor.text(text) for text in PLANTED]
    assert [redactor.text(text) for text in once] == once


def test_fast_path_finds_every_planted_text() -> None:
    assert [text for text in PLANTED if cannot_match(text)] == []


def test_every_row_names_its_source() -> None:
    assert [row for row in TABLE if not row.source or not row.markers] == []
    assert [form for form in KEY_FORMATS if not form.source] == []


def test_lists_of_texts_have_a_minimum_size() -> None:
    assert len(PLANTED) >= MIN_TEXTS
    assert len(HARMLESS) >= MIN_TEXTS


def test_fast_path_finds_every_secret_name() -> None:
    """The markers are derived by hand from the names. Each name before a separator must reach the patterns."""
    is_secret = secret_names()
    names = [*EXACT_NAMES, *SECRET_WORDS, *(f"{kind}_key" for kind in SECRET_KEY_WORDS)]
    assert [name for name in names if is_secret(name) and cannot_match(f"{name}=hunter2hunter2")] == []
    assert [name for name in names if is_secret(name) and cannot_match(f'"{name}": "hunter2"')] == []


@pytest.mark.parametrize(
    "tree",
    [
        {"prompt_tokens": 512, "usage": {"totalTokens": 3}, "tokens": 5},
        {"nextPageToken": "CAUQAA", "passwordPolicy": "strong", "hasPassword": True},
        {"fields": ["password", "email", "token"]},
        {"errors": {"password": ["must be at least 8 characters"]}},
        {"properties": {"password": {"type": "string", "minLength": 8}}},
        {"idempotencyKey": "ord-1", "primaryKey": "id", "author": "Zoe", "secretary": "Jane"},
    ],
)
def test_harmless_tree_is_unchanged(tree: dict[str, Any]) -> None:
    assert Redactor().tree(tree) == tree


@pytest.mark.parametrize(
    "name",
    [
        "pwd_1",
        "userPass",
        "secret_value",
        "password_confirmation",
        "access_token_v2",
        "AccountKey",
        "signature",
        "credential",
        "contraseña",
        "x.api.key",
        "DB_PASSWORD",
        "SharedAccessKey",
        "private_key_id",
        "connect.sid",
    ],
)
def test_secret_name_hides_its_value(name: str) -> None:
    assert Redactor().tree({name: "hunter2"}) == {name: "[redacted]"}
    assert "hunter2" not in Redactor().text(f"a {name}=hunter2")
