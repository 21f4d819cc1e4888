"""Something between the forwarder and DynamoDB responds in its place, and two processes share the ledger."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.dynalite import new_ledger_url, running_dynalite, table_url
from tests.harness.dynamodb_faults import THROTTLED, Fault, always, execute, intercept
from tests.harness.dynamodb_proxy import DynamoProxy
from tests.harness.installation import Installation

pytestmark = pytest.mark.dynamodb

PAGE = intercept(200, b"<html><body>This connection was inspected</body></html>")


class ProxyThread:
    """A proxy on an event loop of its own, for processes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.proxy = DynamoProxy(running_dynalite().port)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.proxy.__aenter__(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.__aexit__(None, None, None), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def between() -> Iterator[DynamoProxy]:
    with ProxyThread() as thread:
        yield thread.proxy


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        pytest.param(PAGE, "cannot be decoded", id="page with 200"),
        pytest.param(intercept(403, b"<html>blocked</html>"), "not AWS", id="page with 403"),
        pytest.param(THROTTLED, "is throttled", id="throttled"),
    ],
)
def test_failures_during_an_interception_are_sent_after_it(
    installation: Installation,
    alloy: FakeAlloy,
    bus: StrictEventBridge,
    between: DynamoProxy,
    fault: Fault,
    cause: str,
) -> None:
    name = new_ledger_url().partition("//")[2].partition("?")[0]
    installation.change("ledger", url=table_url(name, between.endpoint_url), heartbeat_interval="300ms")
    fail(alloy, "before")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["before"])
        between.plan = always(fault)
        fail(alloy, "between")
        daemon.wait_for_log("component state changed", cause)
        assert sent(bus) == ["before"]
        between.plan = execute
        daemon.wait_until(lambda: sent(bus) == ["before", "between"])
        assert daemon.stop() == 0
    assert installation.counters()["pending"] == 0
