"""Broken pages of the logs API: the page is requested again, and no failure is skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import fail, numbered, pages, sent, watermark
from tests.fakes.actions import Hang, ResetAfter
from tests.fakes.alloy import FakeAlloy, Fault, broken_gzip, cut, cut_gzip, unavailable, wrong_length
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import Request
from tests.harness.installation import Installation

BROKEN: dict[str, Fault] = {
    "500": unavailable(500),
    "502": unavailable(502),
    "503 with Retry-After": unavailable(503, "0"),
    "504": unavailable(504),
    "reset": ResetAfter(),
    "closed": Hang(0),
    "timeout": Hang(30),
    "reset mid-body": cut(200, reset=True),
    "closed mid-body": cut(200),
    "too long a Content-Length": wrong_length(10),
    "broken gzip": broken_gzip,
    "half a gzip": cut_gzip,
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeAlloy, list[str]]]:
    """Run one pass over a workflow for each fault. The fault is in the first response to its second page."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("broken"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        workflows = {fault.replace(" ", "-"): fault for fault in BROKEN}
        installation.change("source", workflows=[*workflows], timeout="1s", concurrency=20)
        installation.change("event", payload="none")
        for workflow in workflows:
            fail(alloy, *numbered(61, f"{workflow} "), workflow=workflow)

        def once_on_page_1(request: Request) -> Fault | None:
            workflow = request.path.split("/")[-2]
            first = request.query["page"] == "1" and len(pages(alloy, workflow)) == 2
            return BROKEN[workflows[workflow]] if first else None

        alloy.always(once_on_page_1)
        done = installation.run_command("once")
        assert done.code == 0, done.err
        yield alloy, sent(bus)


@pytest.mark.parametrize("fault", BROKEN)
def test_page_that_fails_once_is_retried_and_loses_nothing(broken: tuple[FakeAlloy, list[str]], fault: str) -> None:
    alloy, ids = broken
    workflow = fault.replace(" ", "-")
    assert [query["page"] for query in pages(alloy, workflow)] == ["0", "1", "1", "2", "3"]
    assert [id_ for id_ in ids if id_.startswith(f"{workflow} ")] == numbered(61, f"{workflow} ")


def test_page_that_keeps_failing_keeps_the_watermark(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The executions recorded before stay recorded."""
    fail(alloy, *numbered(70))
    alloy.always(lambda request: unavailable() if request.query.get("page") == "1" else None)
    assert installation.run_command("once", "--timeout", "20s").code == 69
    assert sent(bus) == numbered(70)[40:]
    assert watermark(installation) is None
    alloy.clear()
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(70)
    assert watermark(installation) is not None
