"""An HTTP client of a daemon's web UI, health endpoints and webhook."""

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
    """Return the address of the web UI from the log."""
    daemon.wait_for_log('"event": "web UI listening"')
    (line,) = [line for line in daemon.log.splitlines() if '"event": "web UI listening"' in line]
    return str(json.loads(line)["address"])


def http_request(
    url: str, method: str = "GET", body: str = "", headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Return the status and the body, or the location of a redirect."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request(method, parts.path, body or None, dict(headers or {}))
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, text or response.headers.get("Location")
    finally:
        connection.close()


def log_in(page: str, token: str) -> str:
    """Log in and return the cookie."""
    parts = urlsplit(page)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    headers = {"Origin": page, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/login", urlencode({"token": token}), headers)
    response = connection.getresponse()
    connection.close()
    assert response.status == 303, response.status
    return response.headers["Set-Cookie"].partition(";")[0]


def create_webhook(installation: Installation, page: str) -> str:
    """Create a webhook and return its address at this web UI."""
    address = installation.run_command("web", "create-webhook").out.strip()
    return page + urlsplit(address).path


def metric(page: str, name: str) -> float:
    """Return the value of a metric by its name and labels, or 0 if the metric is missing."""
    _, text = http_request(f"{page}/metrics")
    found = re.search(rf"^forwarder_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
