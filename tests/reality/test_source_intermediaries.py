"""Responses of proxies, firewalls and portals in place of the logs API are not refusals of the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from forwarder.demo.sample_data import execution
from tests.e2e.harness import fail, polls, sent
from tests.fakes.actions import HttpResponse, Raw
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import utc_now
from tests.harness.installation import CommandResult, Installation

HTML = {"Content-Type": "text/html; charset=UTF-8"}
JSON = {"Content-Type": "application/json"}
PAGE = b"<!DOCTYPE html>\n<html><head><title>s3cret portal</title></head><body>Blocked</body></html>"
BETWEEN = "something between"

FIREWALLS: dict[str, HttpResponse] = {
    "html": HttpResponse(403, HTML, PAGE),
    "html with a comment": HttpResponse(403, HTML, b"<!-- s3cret --><html></html>"),
    "html without a type": HttpResponse(403, {}, b"<html><head><title>403 Forbidden</title></head></html>"),
    "html declared as JSON": HttpResponse(403, JSON, PAGE),
    "xml": HttpResponse(
        403, {"Content-Type": "application/xml"}, b"<?xml version='1.0'?><Error><Code>s3cret</Code></Error>"
    ),
    "text": HttpResponse(403, {"Content-Type": "text/plain"}, b"RBAC: access denied s3cret"),
    "nothing": HttpResponse(403),
    "half a JSON": HttpResponse(403, JSON, b'{"message": "s3cr'),
}


@dataclass(frozen=True)
class Pass:
    """The result of one pass, in which each workflow has its own response."""

    done: CommandResult
    poll_counts: dict[str, int]
    sent: list[str]

    def lines(self, workflow: str) -> str:
        return "".join(str(line) for line in self.done.log if line.get("feed") == workflow)


def run_pass(folder: Path, answers: Mapping[str, HttpResponse | Raw]) -> Pass:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(folder, alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        installation.change("source", workflows=[*answers, "w"])
        fail(alloy, "x")
        alloy.always(lambda request: answers.get(request.path.split("/")[-2].replace("%20", " ")))
        done = installation.run_command("once", "--timeout", "2s")
        poll_counts = {name: polls(alloy, name.replace(" ", "%20")) for name in answers}
        return Pass(done, poll_counts, sent(bus))


@pytest.fixture(scope="module")
def firewalls(tmp_path_factory: pytest.TempPathFactory) -> Pass:
    return run_pass(tmp_path_factory.mktemp("firewalls"), FIREWALLS)


@pytest.mark.parametrize("name", FIREWALLS)
def test_403_without_json_is_an_outage(firewalls: Pass, name: str) -> None:
    lines = firewalls.lines(name)
    assert [word for word in (BETWEEN, "403", "base_url") if word not in lines] == []
    assert "keys set" not in lines
    assert firewalls.poll_counts[name] > 1, "it is tried again"
    assert (firewalls.done.code, firewalls.sent) == (69, ["x"]), "other feeds go on"
    assert "s3cret" not in firewalls.done.output


def test_403_without_json_ends_with_the_outage(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.always(lambda _: HttpResponse(403, HTML, PAGE))
    fail(alloy, "x")
    with installation.start() as daemon:
        daemon.wait_for_log("poll aborted", BETWEEN)
        alloy.clear()
        daemon.wait_until(lambda: sent(bus) == ["x"])
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    "answer",
    [
        HttpResponse(401, JSON, b'{"message":"Unauthorized"}'),
        HttpResponse(401),
        HttpResponse(401, HTML, PAGE),
        HttpResponse(403, JSON, b'{"message":"Forbidden"}'),
        HttpResponse(403, {}, b'  {"error": {"code": 403}}'),
        HttpResponse(403, JSON),
    ],
    ids=["401", "401 empty", "401 with HTML", "403", "403 undeclared", "403 empty"],
)
def test_json_refusal_of_the_api_is_about_the_key(
    installation: Installation, alloy: FakeAlloy, answer: HttpResponse
) -> None:
    alloy.always(lambda _: answer)
    done = installation.run_command("check")
    assert (done.code, "refuses the key" in done.out, "alloy-api-key" in done.out) == (77, True, True)


def test_check_and_page_name_the_responding_server(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: HttpResponse(403, HTML, PAGE))
    done = installation.run_command("check")
    assert (done.code, BETWEEN in done.out) == (69, True)
    with installation.start() as daemon:
        daemon.wait_for_log("poll aborted", BETWEEN)
        daemon.wait_until(lambda: BETWEEN in installation.run_command("status").out)
        assert daemon.stop() == 0


OTHERS: dict[str, tuple[HttpResponse | Raw, tuple[str, ...]]] = {
    "200 with HTML": (HttpResponse(200, HTML, PAGE), ("200 with an HTML page", "base_url")),
    "404 with HTML": (HttpResponse(404, HTML, PAGE), ("404 with an HTML page", "base_url")),
    "404 with JSON": (HttpResponse(404, JSON, b'{"message":"Not Found"}'), ("knows no workflow",)),
    "407": (HttpResponse(407, HTML, PAGE), ("proxy", "credentials", "HTTP_PROXY")),
    "451": (HttpResponse(451, HTML, PAGE), ("451", "base_url")),
    "502": (HttpResponse(502, HTML, PAGE), ("502 with an HTML page",)),
    "503": (HttpResponse(503, {}, b"no healthy upstream"), ("failed (503",)),
    "504": (HttpResponse(504, JSON, b'{"message": "Endpoint request timed out"}'), ("failed (504",)),
    "521": (HttpResponse(521, HTML, PAGE), ("521 with an HTML page",)),
    "redirect to a portal": (
        HttpResponse(302, {"Location": "https://login.portal.example/s3cret?key=s3cret"}),
        ("302", "login.portal.example", "base_url"),
    ),
    "redirect with credentials": (
        HttpResponse(307, {"Location": "https://s3cret:s3cret@portal.example/"}),
        ("307", "portal.example", "base_url"),
    ),
    "redirect below the host": (HttpResponse(308, {"Location": "/s3cret/"}), ("308", "same host")),
    "redirect to nonsense": (HttpResponse(301, {"Location": "http://[s3cret/"}), ("301", "cannot be read")),
    "redirect to no name": (HttpResponse(301, {"Location": "https://s3cret'!/"}), ("301", "cannot be shown")),
    "redirect to nowhere": (HttpResponse(303), ("303", "no address")),
    "418 with HTML": (HttpResponse(418, HTML, PAGE), ("418 with an HTML page",)),
    "400 with HTML": (HttpResponse(400, HTML, PAGE), ("400 with an HTML page",)),
    "another protocol": (Raw(b"SSH-2.0-OpenSSH_9.6\r\n"), ("broke off",)),
}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Pass:
    return run_pass(tmp_path_factory.mktemp("others"), {name: answer for name, (answer, _) in OTHERS.items()})


@pytest.mark.parametrize("name", OTHERS)
def test_response_of_an_intermediary_is_named(others: Pass, name: str) -> None:
    lines = others.lines(name)
    assert [word for word in OTHERS[name][1] if word not in lines] == []
    assert (others.done.code, others.sent) == (69, ["x"])
    assert [text for text in ("s3cret", API_KEY, "\x1b") if text in others.done.output] == []


def test_discovery_distinguishes_html_from_no_workflows(installation: Installation, alloy: FakeAlloy) -> None:
    """A user without workflows gets a 404 of the API. A 404 page of a proxy does not concern the user."""
    installation.change("source", workflows=None, discover=True)
    alloy.api.add("v", execution("failed-status", id="x", started=utc_now()), user_id="u-1")
    alloy.always(lambda request: HttpResponse(404, HTML, PAGE) if "/workflows" in request.path else None)
    done = installation.run_command("once", "--timeout", "1s")
    assert (done.code, "404 with an HTML page" in done.err) == (69, True)


@pytest.mark.parametrize("id_", [".", ".."])
def test_dot_segments_are_not_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, id_: str
) -> None:
    """Clients, proxies and servers remove them from a path, so that another resource would respond."""
    installation.change("source", workflows=[id_, "w"])
    fail(alloy, "x")
    done = installation.run_command("once", "--timeout", "1s")
    assert done.code == 78
    assert "workflow id that is part of an address" in done.output
    assert not alloy.requests
    installation.change("source", workflows=["w"])
    assert installation.run_command("rerun", id_, "--workflow", "w").code != 0
    assert not [request for request in alloy.requests if request.method == "POST"]
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["x"]


def test_ids_that_resemble_dots_are_quoted_and_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    ids = [".w", "w.", "%2e%2e", "a\\..\\b"]
    installation.change("source", workflows=ids)
    for id_ in ids:
        fail(alloy, f"of {id_}", workflow=id_)
    assert installation.run_command("once").code == 0
    assert sent(bus) == sorted(f"of {id_}" for id_ in ids)
    assert {request.path.split("/")[3] for request in alloy.requests} == {
        ".w",
        "w.",
        "%252e%252e",
        "a%5C..%5Cb",
    }
