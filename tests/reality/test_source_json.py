"""Invalid JSON as written by Python, JavaScript and templates does not hide the failed execution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.e2e.harness import fail, numbered, sent
from tests.fakes.actions import HttpResponse
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

FIELD = b'"executionId"'

FRAGMENTS: dict[str, bytes] = {
    "part-nan": b'"load": NaN',
    "part-nan-lower": b'"load": [1, nan, -NaN]',
    "part-infinity": b'"load": [Infinity, -Infinity, inf]',
    "part-undefined": b'"load": undefined',
    "part-python": b'"load": {"a": True, "b": False, "c": None}',
    "part-leading-zero": b'"zip": 01067',
    "part-short-fraction": b'"load": [1., 2.e5]',
    "part-control": b'"text": "a\x01b\tc\nd\x1b[0m"',
    "part-windows-path": b'"file": "C:\\Users\\x\\q 50\\% \\x41 \\\'"',
    "part-short-escape": b'"text": "\\u12 \\uZZZZ"',
    "part-last-comma": b'"list": [1, 2,], "map": {"a": 1 , }',
    "part-huge-number": b'"n": ' + b"9" * 5000,
    "part-half-pair": b'"text": "\\ud800"',
    "part-nul": b'"text": "a\\u0000b"',
    "part-bytes": b'"text": "caf\xe9"',
    "part-name-twice": b'"executionId": "other"',
}


def with_fragment(fragment: bytes) -> Callable[[HttpResponse], HttpResponse]:
    return lambda answer: replace(answer, body=answer.body.replace(FIELD, fragment + b", " + FIELD))


@pytest.fixture(scope="module")
def sent_ids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Yield the ids that one pass over a workflow for each part has sent."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("read"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        installation.change("source", workflows=[*FRAGMENTS])
        for name in FRAGMENTS:
            fail(alloy, *numbered(3, f"{name} "), workflow=name)
        alloy.always(lambda request: with_fragment(FRAGMENTS[request.path.split("/")[-2]]))
        done = installation.run_command("once")
        assert done.code == 0, done.err
        assert "one by one" not in done.err
        yield sent(bus)


@pytest.mark.parametrize("name", FRAGMENTS)
def test_invalid_json_in_a_record_hides_no_failure(sent_ids: list[str], name: str) -> None:
    assert [id_ for id_ in sent_ids if id_.partition(" ")[0] == name] == numbered(3, f"{name} ")
