"""Invalid records and odd text: all of them in one pass, each in its own workflow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import CommandResult, Installation

INVALID_RECORDS: dict[str, bytes] = {
    "no executionId": b'{"startedAt": "2026-01-01T00:00:00Z", "status": "failed"}',
    "executionId null": b'{"executionId": null, "status": "failed"}',
    "executionId empty": b'{"executionId": "", "status": "failed"}',
    "executionId a list": b'{"executionId": ["a"], "status": "failed"}',
    "executionId an object": b'{"executionId": {"a": 1}, "status": "failed"}',
    "executionId too long": b'{"executionId": "%s", "status": "failed"}' % (b"x" * 1025),
    "a null": b"null",
    "a text": b'"failed"',
    "a list": b"[]",
    "a number": b"7",
    "not JSON": b'{"executionId": "bad", "status": }',
    "planted": b'{"status": "failed", "results": "planted-content"}',
}


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def times(moment: str) -> bytes:
    """Return JSON that ends the block and adds other times to the execution."""
    return f'1}}], "startedAt": "{moment}", "stoppedAt": "{moment}", "inputs": [{{"a": 1'.encode()


# The data of a block, or JSON that ends the block and adds fields to the execution.
ODD: dict[str, bytes] = {
    "half a surrogate pair": rb'"\ud800 and \udfff"',
    "a pair the wrong way round": rb'"\udc00\ud800"',
    "a surrogate in a name": rb'{"\ud800": 1}',
    "NUL": rb'"a\u0000b"',
    "NUL in a name": rb'{"a\u0000b": "\u0000"}',
    "not UTF-8": b'"\xff\xfe"',
    "990 levels": nested(990),
    "5000 levels": nested(5000),
    "5000 lists": b"[" * 5000 + b"]" * 5000,
    "60 digits": b"9" * 60,
    "minus 60 digits": b"-" + b"9" * 60,
    "int64 and one more": b"[9223372036854775807, 9223372036854775808, -9223372036854775809]",
    "a float beyond all": b"[1e400, -1e400, 1e-400]",
    "60 digits after the point": b"0." + b"3" * 60,
    "10 MB": b'"' + b"x" * 10_000_000 + b'"',
    "10 MB of escapes": b'"' + rb"\u00e9" * 1_700_000 + b'"',
    "many numbers": b"[" + b"1," * 199_999 + b"1]",
    "the same name twice": b'{"a": 1, "a": 2}',
    "names that are empty": b'{"": {"": ""}}',
    "status a number": b'1}], "status": 500, "inputs": [{"a": 1',
    "invalid times": b'1}], "startedAt": "yesterday", "stoppedAt": {}, "inputs": [{"a": 1',
    "a time far away": times("9999-12-31T23:59:59Z"),
    "a time long ago": times("0001-01-01T00:00:00Z"),
    "an error of another kind": b'1}], "error": [["deep"], 7], "inputs": [{"a": 1',
    "results a text": b'1}], "results": "none", "inputs": [{"a": 1',
    "results null": b'1}], "results": null, "inputs": [{"a": 1',
    "invalid blocks": b'1}, null, 7, "x", {"blockId": 5',
}


@dataclass
class OncePass:
    done: CommandResult
    raw: list[str]
    dead: list[str]
    feeds: dict[str, dict[str, Any]] = field(default_factory=dict)

    def line(self, feed: str) -> dict[str, Any]:
        (line,) = [line for line in self.done.log if line["event"] == "poll completed" and line["feed"] == feed]
        return line

    def count(self, id_: str) -> int:
        return sum(f'"executionId":"{id_}"' in detail for detail in self.raw)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OncePass]:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("records"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        moment = alloy.api.now().isoformat()
        for name, raw in INVALID_RECORDS.items():
            list_between(alloy, name, raw)
        for name, value in ODD.items():
            head = (
                f'{{"executionId": "odd {name}", "status": "failed", "startedAt": "{moment}", "stoppedAt": "{moment}"'
            )
            list_between(alloy, name, head.encode() + b', "results": [{"blockId": "b", "data": ' + value + b"}]}")
        installation.change("source", workflows=[*INVALID_RECORDS, *ODD], timeout="20s")
        done = installation.run_command("once", timeout=120)
        feeds = {feed["workflow_id"]: feed for feed in installation.run_command("status", "--json").json()["feeds"]}
        letters = [letter["execution_id"] for letter in installation.dead_letters()]
        yield OncePass(done, [str(event.entry["Detail"]) for event in bus.delivered], letters, feeds)


def list_between(alloy: FakeAlloy, workflow: str, raw: bytes) -> None:
    """List the raw record between two valid ones."""
    fail(alloy, f"before {workflow}", workflow=workflow, ago=2)
    listed = {"startedAt": alloy.api.now().isoformat(), "status": "success"}
    alloy.api.add(workflow, listed, raw=raw)
    fail(alloy, f"after {workflow}", workflow=workflow, ago=-1)


def test_odd_records_do_not_fail_the_pass(once: OncePass) -> None:
    assert once.done.code == 0, once.done.err[-3000:]
    assert "Traceback" not in once.done.err


@pytest.mark.parametrize("name", [*INVALID_RECORDS, *ODD])
def test_records_around_an_odd_record_are_sent_once(once: OncePass, name: str) -> None:
    """The scan completes."""
    assert (once.count(f"before {name}"), once.count(f"after {name}")) == (1, 1)
    assert once.feeds[name]["watermark"] is not None


@pytest.mark.parametrize("name", INVALID_RECORDS)
def test_invalid_record_is_refused_and_counted(once: OncePass, name: str) -> None:
    assert once.line(name)["rejected"] == 1
    assert once.count("bad") == 0


@pytest.mark.parametrize("name", ODD)
def test_odd_record_is_sent_dead_or_refused(once: OncePass, name: str) -> None:
    ends = once.count(f"odd {name}") + once.dead.count(f"odd {name}") + once.line(name)["rejected"]
    assert ends == 1


def test_refused_record_is_logged_by_hash(once: OncePass) -> None:
    (line,) = [line for line in once.done.log if line["event"] == "record rejected" and line["feed"] == "planted"]
    assert re.fullmatch("[0-9a-f]{16,}", line["digest"])
    assert "executionId" in line["reason"]
    assert "planted-content" not in once.done.output


def test_refused_record_does_not_stop_the_daemon(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.api.add("w", {"startedAt": alloy.api.now().isoformat()}, raw=b'{"status": ]')
    with installation.start() as daemon:
        fail(alloy, "a")
        daemon.wait_until(lambda: sent(bus) == ["a"])
        fail(alloy, "b")
        daemon.wait_until(lambda: sent(bus) == ["a", "b"])


def test_numeric_id_is_sent_as_text(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    alloy.api.add("w", {"executionId": 7, "status": "failed", "stoppedAt": alloy.api.now().isoformat()})
    assert installation.run_command("once").code == 0
    assert [event.detail["executionId"] for event in bus.delivered] == ["7"]


IDS = ["a/b", "../../etc", "a b", "a%2Fb", "ü🫖", "a?b=c#d", "'; --", "x" * 1024, "NULL", "-rf", "\\", '"']


def test_ids_with_odd_characters_are_sent_unchanged(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *IDS)
    assert installation.run_command("once").code == 0
    assert sent(bus) == sorted(IDS)


def test_odd_workflow_ids_are_requested_unchanged(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    workflows = ["a b", "ü🫖", "a?b=c#d", "%2F", "x+y", "w;v"]
    installation.change("source", workflows=workflows)
    for workflow in workflows:
        fail(alloy, f"of {workflow}", workflow=workflow)
    assert installation.run_command("once").code == 0
    assert {event.detail["workflowId"] for event in bus.delivered} == {*workflows}
