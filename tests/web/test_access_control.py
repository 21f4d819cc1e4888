"""Access control: every route requires a session and the web UI's own origin, unless it is listed as public."""

from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from forwarder.vault import NAMES, WEBHOOK_TOKEN
from forwarder.web.middleware import MACHINE_ROUTES, MAX_BODY_BYTES, SETTINGS_FORM_ROUTES, max_body_bytes
from forwarder.web.response_headers import HEADERS
from forwarder.web.tokens import issue_token
from tests.vault.vault_folder import SECRETS
from tests.virtual_clock import NOON
from tests.web.client import CHANGES, ROUTES, VIEWS, Route, WebClient, web_client

every_change = pytest.mark.parametrize("route", CHANGES, ids=str)
every_view = pytest.mark.parametrize("route", VIEWS, ids=str)
every_route = pytest.mark.parametrize("route", ROUTES, ids=str)

CLOSED_CHANGES = [route for route in CHANGES if not route.is_public]
CLOSED_VIEWS = [route for route in VIEWS if not route.is_public]

closed_change = pytest.mark.parametrize("route", CLOSED_CHANGES, ids=str)


async def status_of(client: WebClient, route: Route, **options: Any) -> int:
    return (await client.change(route.path, method=route.method, **options)).status


# A refused request changes nothing, so one server gets those of all routes.


async def test_change_without_a_session_is_refused(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        for route in CLOSED_CHANGES:
            assert await status_of(client, route) == 401, route


async def test_view_without_a_session_redirects_to_login(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        for route in CLOSED_VIEWS:
            response = await client.get(route.path)
            assert response.status == 303, route
            assert urlsplit(response.headers["Location"]).path == "/login", route


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
async def test_change_from_another_origin_is_refused(tmp_path: Path, origin: str) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for route in CHANGES:
            form = {"token": client.token}
            assert await status_of(client, route, headers={"Origin": origin}, data=form) == 403, route
            assert await client.is_logged_in(), route


async def test_change_without_an_origin_is_refused(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for route in CLOSED_CHANGES:
            async with client.browser.request(route.method, route.path, data={}, allow_redirects=False) as response:
                assert response.status == 403, route
            assert await client.is_logged_in(), route


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.2", "127.0.0.1.evil.example:80", ""])
async def test_request_with_another_host_name_is_refused(tmp_path: Path, host: str) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for route in ROUTES:
            assert await status_of(client, route, headers={"Host": host}) == 421, route


async def test_change_without_the_cookie_is_refused(tmp_path: Path) -> None:
    """A browser sends a SameSite=Lax cookie with no form of another site."""
    async with web_client(tmp_path) as client:
        await client.log_in()
        client.browser.cookie_jar.clear()
        for route in CLOSED_CHANGES:
            assert await status_of(client, route, data={}) == 401, route


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_change_with_cookie_from_another_origin_is_refused(tmp_path: Path, site: str) -> None:
    """SameSite lets the requests of a sibling host or another port pass: the Origin does not."""
    async with web_client(tmp_path, public_url="https://forwarder.example.com", tls_cert="", tls_key="") as client:
        await client.log_in()
        origin = {"cross-site": "https://evil.example", "same-site": "https://other.example.com", "none": "null"}[site]
        headers = {"Host": "forwarder.example.com", "Origin": origin, "Sec-Fetch-Site": site}
        for route in CLOSED_CHANGES:
            with capture_logs() as log:
                data = {"purge_all": "1", "on": "1"}
                assert await status_of(client, route, headers=headers, data=data) == 403, route
            assert log == [], route
            assert await client.is_logged_in(), route


@closed_change
async def test_change_sent_twice_has_the_same_result(tmp_path: Path, route: Route) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        data = {"on": "yes", "retry": "unknown"}
        first, second = [await status_of(client, route, data=data) for _ in range(2)]
        assert second == (401 if route.name == "logout" else first)


@every_change
async def test_too_large_change_is_refused_with_or_without_a_length(tmp_path: Path, route: Route) -> None:
    async with web_client(tmp_path) as client:
        webhook_token = issue_token(client.context.config_source, client.context.settings(), WEBHOOK_TOKEN, NOON)
        await client.log_in()
        large = b"token=" + b"x" * max_body_bytes(route.name)

        async def chunks() -> Any:
            yield large

        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        path = f"/hooks/alloy/{webhook_token}" if route.name == "webhook" else route.path
        for data in (BytesIO(large), chunks()):
            assert (await client.change(path, kind, route.method, data=data)).status == 413


async def test_large_form_is_for_settings_with_a_session_only(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        for is_logged_in in (False, True):
            if is_logged_in:
                await client.log_in()
            for route in CHANGES:
                has_large_form = route.name in SETTINGS_FORM_ROUTES
                expected = (400 if is_logged_in else 401) if has_large_form else 413
                form = "x=\0" + "x" * MAX_BODY_BYTES
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                assert await status_of(client, route, headers=kind, data=form.encode()) == expected, route


async def test_too_large_body_of_a_view_is_refused(tmp_path: Path) -> None:
    """No handler of these routes reads a body."""
    async with web_client(tmp_path) as client:
        for route in VIEWS:
            assert await status_of(client, route, data=b"x" * (MAX_BODY_BYTES + 1)) == 413


@every_route
async def test_every_response_has_the_security_headers(tmp_path: Path, route: Route) -> None:
    async with web_client(tmp_path) as client:
        client.context.stopping.set()  # ends the status stream
        for log_in in (False, True):
            if log_in:
                await client.log_in()
            response = await client.change(route.path, method=route.method)
            assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
            assert "no-store" in response.headers["Cache-Control"].split(", ")


def test_content_policy_allows_own_files_only() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@every_route
async def test_response_of_any_route_contains_no_secret(tmp_path: Path, route: Route) -> None:
    async with web_client(tmp_path) as client:
        client.context.stopping.set()  # ends the status stream
        await client.log_in()
        planted = [*SECRETS.values(), client.token, *(cookie.value for cookie in client.browser.cookie_jar)]
        form = {"token": "a-wrong-token-that-is-not-shown-either"}
        response = await client.change(route.path, method=route.method, data=form if route.method == "POST" else None)
        response_text = f"{response.headers} {client.first_event or await response.text()}"
        assert not [secret for secret in [*planted, form["token"]] if secret in response_text]


@closed_change
async def test_change_is_logged_with_its_caller_and_no_value(tmp_path: Path, route: Route) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        form = dict.fromkeys(NAMES, "planted-value")
        with capture_logs() as log:
            await client.change(route.path, method=route.method, data=form)
        (line,) = [line for line in log if line["event"] == "changed in web UI"]
        assert (line["route"], line["caller"], len(line["session"])) == (route.name, "127.0.0.1", 8)
        assert "planted-value" not in str(log)


async def test_refused_change_is_not_logged(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        for route in CLOSED_CHANGES:
            with capture_logs() as log:
                await status_of(client, route, headers={"Origin": "http://evil.example"}, data={})
            assert log == [], route


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/none/none.css", "/hooks/alloy/some", "/login/"])
async def test_error_is_a_page_without_internals(tmp_path: Path, path: str) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        response = await client.change(path)
        text = await response.text()
        assert response.status in (401, 403, 404, 405)
        assert "Traceback" not in text
        assert "aiohttp" not in f"{text} {response.headers}".lower()


async def test_internal_error_is_described_in_the_log_only(tmp_path: Path) -> None:
    async with web_client(tmp_path) as client:
        await client.log_in()
        object.__setattr__(client.context, "health", None)
        response = await client.get("/")
        assert response.status == 500
        assert "AttributeError" not in await response.text()


async def test_health_endpoints_need_no_token(tmp_path: Path) -> None:
    async with web_client(tmp_path, has_token=False) as client:
        for name in MACHINE_ROUTES - {"webhook"}:
            assert (await client.get(f"/{name}")).status == 200
        assert "forwarder web create-token" in await (await client.get("/login")).text()
        assert (await client.log_in("")).status == 401


async def test_public_url_in_another_spelling_is_accepted(tmp_path: Path) -> None:
    async with web_client(tmp_path, public_url="https://Forwarder.example.com:443") as client:
        origin = "https://forwarder.example.com"
        headers = {"Host": "forwarder.example.com", "Origin": origin}
        assert (await client.change("/login", headers, data={"token": client.token})).status == 303


async def test_another_port_of_this_machine_is_another_origin(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    async with web_client(folders[0]) as client, web_client(folders[1]) as other:
        assert (
            await client.change("/login", {"Origin": other.addresses.web_ui}, data={"token": client.token})
        ).status == 403
