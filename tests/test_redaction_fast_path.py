"""The fast path of redaction skips only texts that no pattern would change."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.redaction import Redactor
from forwarder.redaction.matching import cannot_match
from forwarder.redaction.redactor import MAX_CACHED_CHARACTERS, MAX_CACHED_TEXTS
from forwarder.redaction.vendors import KEY_FORMATS, KeyFormat
from tests.factories import examples, texts, trees
from tests.test_redaction import plants, strings

signs = st.sampled_from(
    ["=", ":", "%3D", '"', "'", "{", "[", "://", "@", "\n", "bearer ", "BASIC dTpw", "Basic ", "eyJaaaaa.bb", "AKIA"]
) | st.sampled_from(["ASIAAAAAAAAAAAAA", "-----BEGIN PRIVATE KEY-----", "token", "key", "x", " ", "ü"])
pieces = st.lists(signs | strings | texts, max_size=5).map("".join)


@given(pieces)
@examples(1500, short=500)
def test_text_that_cannot_match_is_unchanged_by_full_redaction(text: str) -> None:
    if cannot_match(text):
        assert Redactor().redact_full(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "://1:2@3",
        "%3A%2F%2F1%40",
        "1118Q~11111111111111111111",
        "r8_11111111111111111111",
        "M11111111111111111111111.111111.111111111111111111111111111",
    ],
)
def test_secret_without_two_letters_in_a_row_is_found(text: str) -> None:
    assert Redactor().text(text) != text


@pytest.mark.parametrize("form", KEY_FORMATS, ids=lambda form: form.prefix)
@given(data=st.data())
@examples(10, short=4)
def test_key_of_each_format_takes_the_full_path(form: KeyFormat, data: st.DataObject) -> None:
    """A text that holds nothing but the key has no other sign of a secret."""
    key = data.draw(st.from_regex(form.pattern, fullmatch=True))
    assert Redactor().text(key) != key


@pytest.mark.parametrize("text", ["xapp-token000", "xoxb-12345678", "whsec_12345678"])
def test_short_key_is_redacted(text: str) -> None:
    assert Redactor().text(text) == "[redacted]"


@pytest.mark.parametrize("text", ["://@", "a://@", "https://@shop.example"])
def test_address_with_empty_user_information_is_unchanged(text: str) -> None:
    """Nothing stands before the "@", so there is no secret. The fast path and the full one agree."""
    assert Redactor().text(text) == text
    assert Redactor().redact_full(text) == text


def test_ordinary_text_takes_the_fast_path() -> None:
    plain = ["EUR", "149.90", "Walnut desk organiser", "f2eb053c-d04a-1a6c-8cd1-dbd6b8d016d0", "zoe@shop.example"]
    assert [text for text in plain if not cannot_match(text)] == []


@given(st.lists(plants | trees, max_size=4))
@examples(200, short=80)
def test_cached_values_are_redacted_the_same(met: list[Any]) -> None:
    practised = Redactor()
    for tree in met:
        practised.tree(tree)
    assert [practised.tree(tree) for tree in met] == [Redactor().tree(tree) for tree in met]


def remembered(redactor: Redactor) -> list[str]:
    kept = redactor._harmless_names, redactor._harmless_texts, redactor._names  # noqa: SLF001  # there is no public view of the caches
    return [text for known in kept for text in known]


def test_caches_of_unique_texts_are_bounded() -> None:
    redactor = Redactor()
    for number in range(3 * MAX_CACHED_TEXTS):
        redactor.tree({f"name-{number}": f"text {number}", f"token-{number} key": "x" * 100_000 + str(number)})
    known = remembered(redactor)
    assert len(known) <= 3 * MAX_CACHED_TEXTS
    assert max(map(len, known)) <= MAX_CACHED_CHARACTERS
