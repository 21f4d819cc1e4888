"""The actions on the dead letters in the list of events: each retries or drops what the list has shown."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.ledger import Counters
from tests.web.client import web_client
from tests.web.event_history import listed, load, pressed, record_dead, record_history


async def test_retry_of_a_filter_changes_its_matches_only(tmp_path: Path) -> None:
    """The button has the number, the audit line too, and a form that is sent twice changes nothing more."""
    async with web_client(tmp_path) as client:
        await record_history(client)
        await record_dead(client, "x-1")
        page = await load(client, "state=dead&text=timeout")
        assert ">Retry these 2</button>" in page
        form = pressed(page, "retry_matching")
        with capture_logs() as log:
            locations = [(await client.change("/events/dead", data=form)).headers["Location"] for _ in range(2)]
        assert locations == [f"/events?state=dead&text=timeout&retried={number}" for number in (2, 0)]
        audits = [line["fields"] for line in log if line["event"] == "changed in web UI"]
        assert audits == [["retry_matching", "2 dead letters"], ["retry_matching", "0 dead letters"]]
        assert await listed(client, "state=dead") == ["x-1"]
        assert "2 dead letters are pending again." in await load(client, "state=dead&retried=2")


async def test_purge_of_a_filter_drops_only_what_was_shown(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_dead(client, "x-1", "x-2")
        await client.log_in()
        page = await load(client, "state=dead")
        assert ">Purge these 2 for good</button>" in page
        await record_dead(client, "x-3")
        refused = await client.change("/events/dead", data=pressed(page, "purge_matching"))
        assert refused.status == 409
        assert "nothing was purged" in await refused.text()
        form = pressed(await load(client, "state=dead&id=x-2"), "purge_matching")
        statuses = [(await client.change("/events/dead", data=form)).status for _ in range(2)]
        assert statuses == [303, 303]
        assert await client.context.ledger.audit() == Counters(recorded=3, dead=2, purged=1)


async def test_retry_of_a_filter_is_bounded(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_dead(client, *(f"e-{number}" for number in range(1001)))
        await client.log_in()
        page = await load(client, "state=dead")
        assert ">Retry the newest 1\N{THIN SPACE}000</button>" in page
        await client.change("/events/dead", data=pressed(page, "retry_matching"))
        assert await client.context.ledger.audit() == Counters(recorded=1001, pending=1000, dead=1)


async def test_one_dead_letter_of_the_list_is_changed(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        for button, location in (
            ({"retry": "b-2"}, "retried=1"),
            ({"purge": "d-4"}, "purged=1"),
            ({"purge": "no"}, "purged=0"),
        ):
            answer = await client.change("/events/dead", data={"state": "dead"} | button)
            assert (answer.status, answer.headers["Location"]) == (303, f"/events?state=dead&{location}")
        assert await client.context.ledger.audit() == Counters(recorded=4, pending=2, sent=1, purged=1)


@pytest.mark.parametrize(
    "form",
    [
        *({}, {"retry": "a", "purge": "a"}, {"retry_matching": "x"}, {"purge_matching": "x", "state": "sent"}),
        *({"retry_matching": "x", "state": "dead", "from": "<b>"}, {"retry": "x" * 5000}, {"purge_all": "yes"}),
    ],
)
async def test_invalid_list_action_changes_nothing(tmp_path: Path, form: dict[str, str]) -> None:
    async with web_client(tmp_path) as client:
        await record_history(client)
        assert (await client.change("/events/dead", data=form)).status == 400
        assert await client.context.ledger.audit() == Counters(recorded=4, pending=1, sent=1, dead=2)
