"""The key of a deliberate send, and the detail that is published for it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.event.idempotency import KEY_CHARACTERS, displayed_detail, idempotency_key, published_detail
from tests.event.test_truncate import a_detail, ids
from tests.factories import examples

sends = st.tuples(ids, st.integers(1, 10**9))


@pytest.mark.parametrize(
    ("execution_id", "send_number", "key"),
    [
        ("6daaa0cf1a3daa6c41b5-ef", 1, "d7e16852000212a7c72df357d5c6aac0"),
        ("e-1", 1, "93fb98460f5f212f884336e81f2668bf"),
        ("e-1", 2, "9f1d52b6582f9d1d19f708346d78f374"),
        ("ä🫖", 1, "7bac836bcc4e9991681132d14a5782b4"),
    ],
)
def test_key_never_changes_between_versions(execution_id: str, send_number: int, key: str) -> None:
    """A changed formula would make consumers process events again."""
    assert idempotency_key(execution_id, send_number) == key


@given(sends, sends)
@examples(200)
def test_keys_of_different_sends_differ(one: tuple[str, int], other: tuple[str, int]) -> None:
    keys = {idempotency_key(*one), idempotency_key(*other)}
    assert len(keys) == len({one, other})
    assert {len(key) for key in keys} == {KEY_CHARACTERS}


@pytest.mark.parametrize(("one", "other"), [(("a#1", 1), ("a", 11)), (("a", 1), ("a#1", 1)), (("a#1", 2), ("a", 12))])
def test_keys_of_ids_with_the_separator_differ(one: tuple[str, int], other: tuple[str, int]) -> None:
    assert idempotency_key(*one) != idempotency_key(*other)


def test_first_send_is_published_as_it_is_stored() -> None:
    stored = json.dumps(a_detail(), indent=1).encode()
    assert published_detail(stored, 1) is stored


def test_replay_is_published_with_its_key_and_mark() -> None:
    stored = a_detail()
    published = json.loads(published_detail(json.dumps(stored).encode(), 3))
    changed = {"idempotencyKey": idempotency_key("e-1", 3), "replay": True}
    assert published == stored | {"forwarder": stored["forwarder"] | changed}


@pytest.mark.parametrize("damaged", [b"", b"{", b"null", b"[]", b"{}", b'{"executionId":1}', b'{"executionId":"e"}'])
def test_damaged_detail_of_a_replay_is_displayed(damaged: bytes) -> None:
    assert displayed_detail(damaged, 2) == damaged
