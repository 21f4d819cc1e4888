import gc
import inspect

import hypothesis
import pytest
import structlog

from forwarder.settings.models import variable
from tests.browser.chrome import missing_requirement
from tests.factories import SHORT_EXAMPLES
from tests.harness import dynalite
from tests.harness.few_certificates import trust_few_certificates
from tests.harness.fork_server import ForkServer, stop_fork_server
from tests.waiting import with_deadline

# A property states the number of its examples in a profile with 100 of them; see tests/factories.py. CI runs
# the same examples each time. `make fuzz` searches for new ones.
hypothesis.settings.register_profile("short", max_examples=SHORT_EXAMPLES, derandomize=True, deadline=None)
hypothesis.settings.register_profile("long", max_examples=300, derandomize=True, deadline=None)
hypothesis.settings.register_profile("fresh", max_examples=2000, deadline=None, print_blob=True)


def pytest_configure(config: pytest.Config) -> None:
    """Load the hypothesis profile before the tests are imported, because decorators of the tests read it."""
    # By default, a traceback is drawn with the values of all frames, which takes 0.1 s.
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])
    gc.disable()  # until the tests are collected: the objects of the collection live as long as the process
    profile = config.getoption("--hypothesis-profile", None)
    hypothesis.settings.load_profile(profile or ("long" if config.getoption("--long") else "short"))
    if config.getoption("--long"):
        ForkServer.is_used = False
    else:
        trust_few_certificates()


def pytest_collection_finish() -> None:
    """Exclude the modules and the collected tests from the garbage collections during the tests."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """End the process that starts the commands under test."""
    stop_fork_server()
    dynalite.stop_dynalite()


@pytest.fixture(params=["direct", pytest.param("sdk", marks=pytest.mark.long)])
def either_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with each client of the bus. The client that is not the default is used in long runs only."""
    monkeypatch.setenv(variable("destination.client"), request.param)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long")
    parser.addoption("--browser", action="store_true", help="the tests marked browser must run: none is skipped")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = with_deadline(item.obj)
    if (lacking := missing_requirement()) and not config.getoption("--browser"):
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason=f"{item.name}: {lacking}"))
    if (lacking := dynalite.missing_requirement()) and not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("dynamodb"):
                item.add_marker(pytest.mark.skip(reason=f"{item.name}: {lacking}"))
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
