"""The shortcuts of redaction hide nothing: what they pass over, no pattern would have changed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from forwarder.redaction import LONGEST_NAME, MOST_NAMES, Redactor, says_nothing
from tests.samples import examples, texts, trees
from tests.test_redaction import plants, strings

signs = st.sampled_from(
    ["=", ":", "%3D", '"', "'", "{", "[", "://", "@", "\n", "bearer ", "BASIC dTpw", "Basic ", "eyJaaaaa.bb", "AKIA"]
) | st.sampled_from(["ASIAAAAAAAAAAAAA", "-----BEGIN PRIVATE KEY-----", "token", "key", "x", " ", "ü"])
pieces = st.lists(signs | strings | texts, max_size=5).map("".join)


@given(pieces)
@examples(1500)
def test_a_text_that_says_nothing_at_a_glance_says_nothing_when_searched(text: str) -> None:
    if says_nothing(text):
        assert Redactor().searched(text) == text


def test_most_texts_say_nothing_at_a_glance() -> None:
    plain = ["EUR", "149.90", "Walnut desk organiser", "f2eb053c-d04a-1a6c-8cd1-dbd6b8d016d0", "zoe@shop.example"]
    assert [text for text in plain if not says_nothing(text)] == []


@given(st.lists(plants | trees, max_size=4))
@examples(200)
def test_names_that_were_met_before_are_told_as_at_first(met: list[Any]) -> None:
    practised = Redactor()
    for tree in met:
        practised.tree(tree)
    assert [practised.tree(tree) for tree in met] == [Redactor().tree(tree) for tree in met]


def test_names_that_never_come_again_do_not_fill_the_memory() -> None:
    redactor = Redactor()
    for number in range(3 * MOST_NAMES):
        redactor.tree({f"name-{number}": 1, "x" * 100_000 + str(number): 1} if number % 100 == 0 else {str(number): 1})
    remembered = redactor._known  # noqa: SLF001  # how much is remembered shows nowhere else
    assert len(remembered) <= MOST_NAMES
    assert max(map(len, remembered)) <= LONGEST_NAME
