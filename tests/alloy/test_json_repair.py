"""The repair of JSON: malformed values become decodable, and valid JSON keeps its meaning."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.alloy.json_repair import MAX_DEPTH, TOO_DEEP, repair_json
from tests.alloy.pages import malformed_values
from tests.factories import examples, is_linear, trees


@given(trees)
@examples(300)
def test_valid_json_keeps_its_value(tree: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(tree, ensure_ascii=ascii_only).encode()
        assert json.loads(repair_json(text)) == tree


@given(malformed_values, malformed_values)
@examples(150)
def test_repaired_values_can_be_decoded(first: bytes, second: bytes) -> None:
    repaired = msgspec.json.decode(repair_json(b'{"a": ' + first + b', "kept": [1, ' + second + b', "kept"]}'))
    assert repaired["kept"][0] == 1
    assert repaired["kept"][2] == "kept"


@given(st.binary(max_size=300) | malformed_values)
@examples(300)
def test_any_bytes_become_text_and_second_repair_is_no_op(body: bytes) -> None:
    repaired = repair_json(body)
    repaired.decode()
    if not any(mark in body for mark in (b"[", b"{")):
        assert repair_json(repaired) == repaired


@pytest.mark.parametrize(
    ("body", "repaired"),
    [
        (rb'"\ud83e\uded6"', rb'"\ud83e\uded6"'),
        (rb'"\ud83e"', rb'"\ufffd"'),
        (rb'"\uded6\ud83e"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83e\ud83e\uded6"', rb'"\ufffd\ud83e\uded6"'),
        (rb'"\\ud83e"', rb'"\\ud83e"'),
        (rb'"\\\ud83e"', rb'"\\\ufffd"'),
        (b'"\xff"', '"\ufffd"'.encode()),
        (b"1e999", b'"1e999"'),
        (b"[-1e999, 1]", b'["-1e999", 1]'),
        (b"1e99", b"1e99"),
        (b'"1e999"', b'"1e999"'),
    ],
)
def test_only_the_malformed_part_is_replaced(body: bytes, repaired: bytes) -> None:
    assert repair_json(body) == repaired


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 5000, 200_000])
def test_levels_beyond_the_maximum_depth_become_a_string(depth: int) -> None:
    repaired = repair_json(b'["first", ' + b"[" * depth + b"1" + b"]" * depth + b', "last"]')
    tree = msgspec.json.decode(repaired)
    assert (tree[0], tree[2]) == ("first", "last")
    assert (TOO_DEEP.encode() in repaired) == (depth >= MAX_DEPTH)


def test_brackets_inside_strings_are_not_levels() -> None:
    text = json.dumps({"a": "[{" * 5000, 'b"]': ["]}" * 5000]}).encode()
    assert repair_json(text) == text


@pytest.mark.parametrize(
    "bit", ["[", "]", '"', '\\"', '"\\', "\\ud800", "-", "1", "1e", "{", '"a', "[]", '[\\"', "\\u", '\\\\"']
)
@pytest.mark.parametrize("start", ["", '"', "{"])
def test_hostile_bodies_take_linear_time(start: str, bit: str) -> None:
    """A body cut inside a string of a megabyte is one of these, and must not block the event loop."""
    assert is_linear(lambda text: repair_json((start + text).encode()), bit)
    repair_json((start + bit * ((1 << 18) // len(bit))).encode())
