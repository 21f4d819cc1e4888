"""The page of a daemon, called from outside as browsers and machines do."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess


def web_address(daemon: ForwarderProcess) -> str:
    """Of the page, as the log tells it."""
    daemon.wait_for_log('"event": "web UI listening"')
    (line,) = [line for line in daemon.log.splitlines() if '"event": "web UI listening"' in line]
    return str(json.loads(line)["address"])


def http_request(
    url: str, method: str = "GET", body: str = "", headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Status and text, or the location where it leads elsewhere."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request(method, parts.path, body or None, dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, text or answer.headers.get("Location")
    finally:
        connection.close()


def log_in(page: str, token: str) -> str:
    """The cookie."""
    parts = urlsplit(page)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    headers = {"Origin": page, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/login", urlencode({"token": token}), headers)
    answer = connection.getresponse()
    connection.close()
    assert answer.status == 303, answer.status
    return answer.headers["Set-Cookie"].partition(";")[0]


def create_webhook(installation: Installation, page: str) -> str:
    """The address that Alloy is given, on this page."""
    made = installation.run_command("web", "create-webhook").out.strip()
    return page + urlsplit(made).path


def metric(page: str, name: str) -> float:
    """A figure by its name and labels; 0 where it was not told yet."""
    _, text = http_request(f"{page}/metrics")
    found = re.search(rf"^forwarder_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
