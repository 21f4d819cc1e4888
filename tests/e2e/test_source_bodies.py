"""Response bodies that are no page: the poll is aborted, other feeds continue, the watermark stays."""

from __future__ import annotations

from tests.e2e.harness import fail, numbered, pages, polls, sent, watermark
from tests.fakes.actions import HttpResponse
from tests.fakes.alloy import MIB, FakeAlloy, data_null, gzip_bomb, not_json, other_shape
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

JSON = {"Content-Type": "application/json"}
NO_PAGE: dict[str, HttpResponse] = {
    "html": not_json(),
    "data-null": data_null(),
    "a-list": other_shape(["x"]),
    "a-text": other_shape("x"),
    "no-data": other_shape({"items": []}),
    "data-an-object": other_shape({"data": {"a": 1}}),
    "nothing": HttpResponse(200, JSON),
    "a-null": other_shape(None),
    "half": HttpResponse(200, JSON, b'{"data": ['),
    "no-text": HttpResponse(200, JSON, b"\xff\xfe\x00"),
}


def body_for(target: str) -> HttpResponse | None:
    return next((response for name, response in NO_PAGE.items() if f"/{name}/" in target), None)


def test_invalid_body_aborts_the_poll_of_its_feed_only(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=[*NO_PAGE, "w"])
    fail(alloy, "other")
    alloy.always(lambda request: body_for(request.target))
    done = installation.run_command("once", "--timeout", "20s")
    assert (done.code, sent(bus)) == (69, ["other"])
    assert {line["feed"] for line in done.log if line["event"] == "poll aborted"} == {*NO_PAGE}
    feeds = installation.run_command("status", "--json").json()["feeds"]
    assert {feed["workflow_id"] for feed in feeds if feed["watermark"]} == {"w"}


def test_feed_with_invalid_bodies_recovers(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    alloy.always(lambda _: not_json())
    with installation.start() as daemon:
        daemon.wait_for_log("poll aborted")
        alloy.clear()
        daemon.wait_until(lambda: sent(bus) == ["a"])


def test_invalid_second_page_keeps_the_first_and_the_watermark(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(40))
    alloy.always(lambda request: data_null() if request.query["page"] == "1" else None)
    assert installation.run_command("once", "--timeout", "20s").code == 69
    assert sent(bus) == numbered(40)[10:]
    assert watermark(installation) is None
    alloy.clear()
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(40)


def test_record_over_the_limit_is_refused_and_others_are_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The other records are read one by one."""
    installation.change("source", max_body_bytes=100_000)
    fail(alloy, *numbered(5, "before"))
    fail(alloy, "huge", payload={"text": "x" * 120_000})
    fail(alloy, *numbered(5, "after"))
    done = installation.run_command("once")
    assert sent(bus) == numbered(5, "after") + numbered(5, "before"), done.err
    assert "1" in {query["limit"] for query in pages(alloy)}
    assert [line["rejected"] for line in done.log if line["event"] == "poll completed"] == [1]
    assert watermark(installation) is not None, "one bad record never wedges a feed"


def test_page_over_the_limit_of_small_records_loses_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", max_body_bytes=100_000)
    fail(alloy, *numbered(35), payload={"text": "x" * 9_000})
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (0, numbered(35))


def test_too_large_responses_keep_the_watermark_and_back_off(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", max_body_bytes=4_000)
    fail(alloy, *numbered(3))
    alloy.always(lambda _: other_shape({"data": [], "advertisement": "x" * 5_000}))
    done = installation.run_command("once", "--timeout", "1s")
    assert (done.code, sent(bus)) == (69, [])
    assert watermark(installation) is None
    assert polls(alloy) < 500, "at 20 requests a second, more than that would hold up the other feeds for long"


def test_gzip_bomb_is_refused_and_records_are_read_one_by_one(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", max_body_bytes=1_000_000)
    fail(alloy, "a", "b")
    alloy.always(lambda request: gzip_bomb(8 * MIB) if request.query["limit"] != "1" else None)
    done = installation.run_command("once")
    assert sent(bus) == ["a", "b"]
    assert "1000000 bytes" in done.err
