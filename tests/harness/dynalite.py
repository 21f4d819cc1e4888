"""dynalite, an emulator of DynamoDB in which conditional writes are atomic. One process serves all tests of a worker.

`make dynamodb` installs it. It keeps tables in memory, and has no TTL and no transactions.
"""

import asyncio
import shutil
import subprocess
import time
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from aiobotocore.session import get_session

from forwarder.ledger.dynamodb.schema import table_definition
from tests.harness.ports import free_port

CLI = Path("build/node/node_modules/dynalite/cli.js")

START_SECONDS = 30.0


def missing_requirement() -> str:
    """Return why dynalite cannot run here, or an empty text."""
    if shutil.which("node") is None:
        return "Node.js is not installed: `make dynamodb` installs it"
    return "" if CLI.exists() else "dynalite is not installed: run `make dynamodb`"


class Dynalite:
    """A running emulator."""

    def __init__(self) -> None:
        self.port = free_port()
        node = shutil.which("node") or "node"
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--createTableMs", "0"]
        self._process = subprocess.Popen([node, str(CLI), *arguments], stdout=subprocess.DEVNULL)  # noqa: S603  # our own arguments
        self._wait()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                urlopen(self.endpoint_url, timeout=1)  # noqa: S310  # loopback
            except HTTPError:  # any response of its own
                return
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise RuntimeError("dynalite does not respond")


_running: list[Dynalite] = []


def running_dynalite() -> Dynalite:
    """Return the emulator of this worker, started at the first call."""
    if not _running:
        _running.append(Dynalite())
    return _running[0]


def stop_dynalite() -> None:
    while _running:
        _running.pop().stop()


def new_table_name() -> str:
    return f"ledger-{token_hex(6)}"


KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


def table_client(endpoint_url: str) -> Any:
    """Return a context manager of an SDK client for a table on loopback."""
    return get_session().create_client("dynamodb", region_name="eu-west-1", endpoint_url=endpoint_url, **KEYS)


def table_url(name: str, endpoint_url: str = "") -> str:
    """Return the `ledger.url` of a table, on the emulator of this worker by default."""
    return f"dynamodb://{name}?region=eu-west-1&endpoint_url={endpoint_url or running_dynalite().endpoint_url}"


def new_ledger_url() -> str:
    """Create a table for a ledger on the emulator, and return its `ledger.url`."""
    name = new_table_name()

    async def create() -> None:
        async with table_client(running_dynalite().endpoint_url) as client:
            await client.create_table(**table_definition(name))

    asyncio.run(create())
    return table_url(name)
