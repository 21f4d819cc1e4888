"""The causes of failed TLS handshakes that do not come from the server."""

from pathlib import Path

import pytest

from tests.fakes.certificates import self_signed
from tests.test_network_errors import OK, Get, by_aiobotocore, by_aiohttp, by_httpx, problem, serving


@pytest.mark.parametrize("get", [by_httpx, by_aiohttp, by_aiobotocore])
@pytest.mark.parametrize("path", ["gone/keys.log", "."], ids=["no folder", "a folder"])
def test_key_log_that_cannot_be_written_is_named(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Python opens the file for each context, so that it may also disappear while the program runs."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / path))
    with serving(OK, self_signed(tmp_path).server) as place:
        text = problem(get(f"https://{place}/", None, None))
    assert f"SSLKEYLOGFILE names {tmp_path / path}, which cannot be written" in text
    assert "unset SSLKEYLOGFILE" in text
