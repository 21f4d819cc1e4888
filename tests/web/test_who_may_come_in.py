"""Whatever is added to the page is closed, until it is opened on purpose."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from forwarder.vault import HOOK_TOKEN, NAMES
from forwarder.web.connection import HEADERS
from forwarder.web.guard import FOR_MACHINES, LARGEST_BODY
from forwarder.web.pages import FORM_TOKEN
from forwarder.web.tokens import renew
from tests.clocks import NOON
from tests.loops import looped
from tests.vault.homes import SECRETS
from tests.web.visit import CHANGES, DOORS, VIEWS, Door, Visit, visit

every_change = pytest.mark.parametrize("door", CHANGES, ids=str)
every_view = pytest.mark.parametrize("door", VIEWS, ids=str)
every_door = pytest.mark.parametrize("door", DOORS, ids=str)

closed_change = pytest.mark.parametrize("door", [door for door in CHANGES if not door.is_open], ids=str)
closed_view = pytest.mark.parametrize("door", [door for door in VIEWS if not door.is_open], ids=str)


async def status_of(at: Visit, door: Door, **options: Any) -> int:
    return (await at.change(door.path, method=door.method, **options)).status


@closed_change
@looped
async def test_without_a_session_nothing_can_be_changed(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        assert await status_of(at, door) == 401


@closed_view
@looped
async def test_without_a_session_every_page_leads_to_the_login(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        answer = await at.get(door.path)
        assert (answer.status, answer.headers["Location"]) == (303, "/login")


@every_change
@looped
async def test_nothing_is_changed_from_another_page(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"):
            form = {FORM_TOKEN: await at.form_token(), "token": at.token}
            assert await status_of(at, door, headers={"Origin": origin}, data=form) == 403
        assert await at.is_in()


@closed_change
@looped
async def test_nothing_is_changed_by_what_does_not_say_where_it_comes_from(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        form = {FORM_TOKEN: await at.form_token()}
        async with at.browser.request(door.method, door.path, data=form, allow_redirects=False) as answer:
            assert answer.status == 403
        assert await at.is_in()


@every_door
@looped
async def test_nothing_is_answered_under_another_name(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        for host in ("evil.example", "127.0.0.1", "127.0.0.1.evil.example:80", ""):
            assert await status_of(at, door, headers={"Host": host}) == 421


@closed_change
@looped
async def test_without_a_form_token_nothing_is_changed(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        for form in ({}, {FORM_TOKEN: ""}, {FORM_TOKEN: "made.up"}, {FORM_TOKEN: "."}, {FORM_TOKEN: "é.é"}):
            assert await status_of(at, door, data=form) == 403
        assert await at.is_in()


@closed_change
@looped
async def test_a_form_token_counts_once(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        form = {FORM_TOKEN: await at.form_token()}
        assert await status_of(at, door, data=form) != 403
        await at.log_in()  # where the change was to log out
        assert await status_of(at, door, data=form) == 403


@closed_change
@looped
async def test_the_form_token_of_another_session_does_not_count(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        form = {FORM_TOKEN: await at.form_token()}
        at.browser.cookie_jar.clear()
        await at.log_in()
        assert await status_of(at, door, data=form) == 403
        assert await at.is_in()


@every_change
@looped
async def test_what_is_too_large_is_refused_whether_it_says_so_or_not(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        hook = renew(at.desk.place, at.desk.settings(), HOOK_TOKEN, NOON)
        await at.log_in()
        large = b"token=" + b"x" * LARGEST_BODY

        async def chunks() -> Any:
            yield large

        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        path = f"/hooks/alloy/{hook}" if door.name == "nudge" else door.path
        for data in (large, chunks()):
            assert (await at.change(path, kind, door.method, data=data)).status == 413


@looped
async def test_what_is_too_large_is_refused_even_where_nobody_would_read_it(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        for door in VIEWS:
            assert await status_of(at, door, data=b"x" * (LARGEST_BODY + 1)) == 413


@every_door
@looped
async def test_every_answer_says_what_a_browser_may_do_with_it(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        at.desk.stopping.set()  # so that what lasts ends
        for log_in in (False, True):
            if log_in:
                await at.log_in()
            answer = await at.change(door.path, method=door.method)
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
            assert answer.headers["Cache-Control"] == "no-store"


def test_no_script_or_style_runs_but_from_files_of_ours() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@every_door
@looped
async def test_no_answer_holds_a_secret(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        at.desk.stopping.set()  # so that what lasts ends
        await at.log_in()
        planted = [*SECRETS.values(), at.token, *(cookie.value for cookie in at.browser.cookie_jar)]
        form = {FORM_TOKEN: await at.form_token(), "token": "a-wrong-token-that-is-not-shown-either"}
        answer = await at.change(door.path, method=door.method, data=form if door.method == "POST" else None)
        told = f"{answer.headers} {at.heard or await answer.text()}"
        assert not [secret for secret in [*planted, form["token"]] if secret in told]


@closed_change
@looped
async def test_every_change_is_a_line_of_the_log_with_who_and_never_a_value(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        form = {FORM_TOKEN: await at.form_token(), **dict.fromkeys(NAMES, "planted-value")}
        with capture_logs() as log:
            await at.change(door.path, method=door.method, data=form)
        (line,) = [line for line in log if line["event"] == "changed from the page"]
        assert (line["route"], line["caller"], len(line["session"])) == (door.name, "127.0.0.1", 8)
        assert "planted-value" not in str(log)
        assert form[FORM_TOKEN] not in str(log)


@closed_change
@looped
async def test_what_is_refused_is_no_change(tmp_path: Path, door: Door) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        with capture_logs() as log:
            await at.change(door.path, method=door.method, data={})
        assert log == []


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/none/none.css", "/hooks/alloy/some", "/login/"])
@looped
async def test_a_refusal_is_a_page_and_tells_nothing_of_the_inside(tmp_path: Path, path: str) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        answer = await at.change(path)
        text = await answer.text()
        assert answer.status in (401, 403, 404, 405)
        assert "Traceback" not in text
        assert "aiohttp" not in f"{text} {answer.headers}".lower()


@looped
async def test_a_fault_of_ours_is_told_by_the_log_alone(tmp_path: Path) -> None:
    async with visit(tmp_path) as at:
        await at.log_in()
        object.__setattr__(at.desk, "health", None)
        answer = await at.get("/")
        assert answer.status == 500
        assert "AttributeError" not in await answer.text()


@looped
async def test_the_doors_for_machines_need_no_token_even_where_there_is_none(tmp_path: Path) -> None:
    async with visit(tmp_path, has_token=False) as at:
        for name in FOR_MACHINES - {"nudge"}:
            assert (await at.get(f"/{name}")).status == 200
        assert "forwarder web token" in await (await at.get("/login")).text()
        assert (await at.log_in("")).status == 401


@looped
async def test_a_name_of_the_settings_is_a_name_of_the_page(tmp_path: Path) -> None:
    async with visit(tmp_path, public_url="https://Forwarder.example.com:443") as at:
        origin = "https://forwarder.example.com"
        headers = {"Host": "forwarder.example.com", "Origin": origin}
        assert (await at.change("/login", headers, data={"token": at.token})).status == 303


@looped
async def test_another_program_on_this_machine_is_another_origin(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    async with visit(folders[0]) as at, visit(folders[1]) as other:
        assert (await at.change("/login", {"Origin": other.served.page}, data={"token": at.token})).status == 403
