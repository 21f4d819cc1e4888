"""Decoding of JSON from other programs: no input raises anything that callers do not expect."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.untrusted_json import JSON_ERRORS, decode_or_none, is_json
from tests.factories import examples
from tests.fuzz.byte_strategies import damaged

NOT_JSON = [
    b"",
    b"{",
    b"NaN",
    b'"\xff"',
    b"\xff",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    '"\ud800"',
    b"1 2",
]
"""One input for each exception of the decoders: malformed, cut, not UTF-8, nested too deep, half a surrogate pair."""


@pytest.mark.parametrize("data", NOT_JSON, ids=lambda data: repr(data[:8]))
def test_data_that_is_not_json_decodes_to_none(data: bytes | str) -> None:
    assert decode_or_none(data) is None
    assert not is_json(data)


@pytest.mark.parametrize("data", [b"[" * 100_000, '["\ud800"', b"\xff\xfe\xff", b"{", b"\xff"])
def test_errors_of_the_standard_library_are_expected(data: bytes | str) -> None:
    with pytest.raises(JSON_ERRORS):
        json.loads(data)


@pytest.mark.parametrize(("data", "value"), [(b" [1] ", [1]), ("{}", {}), (b'"a"', "a"), (b"0", 0), (b"null", None)])
def test_json_decodes_to_its_value(data: bytes | str, value: object) -> None:
    assert decode_or_none(data) == value
    assert is_json(data)


def test_value_of_another_type_decodes_to_none() -> None:
    decoder = msgspec.json.Decoder(list[int])
    assert decode_or_none(b"[1]", decoder) == [1]
    assert decode_or_none(b'["a"]', decoder) is None


@given(st.binary() | damaged(b'{"data": [{"executionId": "a", "error": {"message": "\\ud83d\\ude00 \xc3\xa9"}}]}'))
@examples(300)
def test_any_bytes_are_json_or_not(data: bytes) -> None:
    assert is_json(data) or decode_or_none(data) is None
