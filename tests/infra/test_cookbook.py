"""The patterns of docs/cookbook.md match the intended events of the forwarder, and no others."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from moto.events.models import EventPattern

from forwarder.demo.sample_data import BLOCK_IDS, execution
from forwarder.event.health_event import DETAIL_TYPE, HealthChange, health_detail
from tests.e2e.conftest import vault_secrets
from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.infra.pattern import matches
from tests.infra.rule_event import rule_event
from tests.infra.templates import INFRA, template
from tests.virtual_clock import NOON

__all__ = ["vault_secrets"]

COOKBOOK = (INFRA.parent / "docs" / "cookbook.md").read_text()

RECIPES = {
    heading: json.loads(pattern)
    for heading, pattern in re.findall(r"^### (.+)\n(?:(?!^#|^```).*\n)*```json\n(.+)\n```", COOKBOOK, re.MULTILINE)
}

EXPECTED = {
    "By workflow": {"orders", "refund"},
    "By error text": {"down"},
    "By block": {"block"},
    "By user": {"of-user"},
    "All but the noise": {"orders", "refund", "down", "block", "of-user", "slow"},
    "Long executions": {"slow"},
    "New failures, without replays": {"orders", "refund", "down", "block", "of-user", "noise", "slow"},
}
"""The executions that each recipe must match. It must match no others."""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Yield the event of each execution, as a rule of EventBridge gets it."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("cookbook"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        _fail_executions(installation, alloy)
        assert installation.run_command("once").code == 0
        yield {event["detail"]["executionId"]: event for event in map(rule_event, bus.delivered)}


def _fail_executions(installation: Installation, alloy: FakeAlloy) -> None:
    users = {"w": "user-42"}
    workflows = ["sync-orders", "issue-refunds", "book", "test-things"]
    installation.change("source", workflows=[*workflows, {"id": "w", "user_id": users["w"]}])
    for workflow in workflows:
        alloy.api.add_workflow(workflow)
    alloy.api.add_workflow("w")
    fail(alloy, "orders", workflow="sync-orders")
    fail(alloy, "refund", workflow="issue-refunds")
    fail(alloy, "down", workflow="book", outcome="failed-error-string")
    alloy.api.update("down", error="the shop's API answered 503, twenty times in a row")
    fail(alloy, "block", workflow="book", outcome="failed-block")
    fail(alloy, "noise", workflow="test-things")
    fail(alloy, "slow", workflow="book", ago=600)
    alloy.api.update("slow", stoppedAt=alloy.api.now().isoformat().replace("+00:00", "Z"))
    started = alloy.api.now() - timedelta(seconds=60)
    alloy.api.add("w", execution("failed-status", id="of-user", started=started), user_id=users["w"])


def test_each_recipe_has_expected_executions() -> None:
    assert RECIPES.keys() == EXPECTED.keys()


def test_events_cover_the_cases_of_the_recipes(events: dict[str, Any]) -> None:
    assert events.keys() == set().union(*EXPECTED.values())
    assert events["block"]["detail"]["error"]["blockId"] in BLOCK_IDS


@pytest.mark.parametrize("recipe", EXPECTED)
def test_recipe_matches_exactly_its_executions(recipe: str, events: dict[str, Any]) -> None:
    assert {id_ for id_, event in events.items() if matches(RECIPES[recipe], event)} == EXPECTED[recipe]


@pytest.mark.parametrize("recipe", EXPECTED)
def test_recipe_matches_the_same_executions_on_moto(recipe: str, events: dict[str, Any]) -> None:
    judged: Any = events.items()
    chosen = {id_ for id_, event in judged if EventPattern(None, RECIPES[recipe]).matches_event(event)}
    assert chosen == EXPECTED[recipe]


def test_replayed_event_is_distinguished_from_a_new_one(events: dict[str, Any]) -> None:
    again = json.loads(json.dumps(events["orders"]))
    again["detail"]["forwarder"]["replay"] = True
    assert not matches(RECIPES["New failures, without replays"], again)
    assert matches(RECIPES["By workflow"], again)


@pytest.mark.parametrize(
    ("state", "previous", "is_reported"),
    [
        ("FAILED", "HEALTHY", True),
        ("HEALTHY", "DEGRADED", True),
        ("DISABLED", "ENABLED", True),
        ("HEALTHY", None, False),
        ("RUNNING", None, False),
    ],
)
def test_health_rule_matches_problems_and_recoveries(
    state: str, previous: str | None, events: dict[str, Any], *, is_reported: bool
) -> None:
    """No rule for failures matches a health event, and the rule for health matches no failure."""
    change = HealthChange("bus", state, previous, NOON, "it is down")
    event = events["orders"] | {"detail-type": DETAIL_TYPE, "detail": json.loads(health_detail(change, "host", NOON))}
    rule = template("cookbook/health.yaml")["Resources"]["Rule"]["Properties"]["EventPattern"]
    assert matches(rule, event) is is_reported
    assert not any(matches(rule, failure) for failure in events.values())
    assert not any(matches(pattern, event) for pattern in RECIPES.values())


@pytest.mark.parametrize("name", ["queue", "lambda", "slack"])
def test_template_pattern_matches_its_failures(name: str, events: dict[str, Any]) -> None:
    pattern = template(f"cookbook/{name}.yaml")["Resources"]["Rule"]["Properties"]["EventPattern"]
    filled = json.loads(json.dumps(pattern).replace('{"Ref": "WorkflowId"}', '"sync-orders"'))
    expected = {"queue": {"orders"}, "lambda": set(), "slack": events.keys()}[name]
    assert {id_ for id_, event in events.items() if matches(filled, event)} == expected


MESSAGE = 'the "shop" at C:\\shop:\n<!channel> <https://shop.example|log in> & retry'


def transformers(name: str) -> list[dict[str, Any]]:
    resources = template(f"{name}.yaml")["Resources"].values()
    targets = [target for each in resources for target in each.get("Properties", {}).get("Targets", [])]
    return [target["InputTransformer"] for target in targets if "InputTransformer" in target]


def transformed(transformer: dict[str, Any]) -> Any:
    """Return the target's input for variables that are MESSAGE. Within quotation marks, EventBridge escapes nothing."""

    def fill(part: re.Match[str]) -> str:
        return json.dumps(MESSAGE) if part[1] else re.sub(r"<\w+>", lambda _: MESSAGE, part[0])

    text = transformer["InputTemplate"]
    return json.loads(re.sub(r'"[^"]*"|<(\w+)>', fill, text if isinstance(text, str) else text["Fn::Sub"]))


@pytest.mark.parametrize("name", ["bus", "cookbook/slack", "cookbook/health"])
def test_input_template_keeps_quotation_marks(name: str) -> None:
    (transformer,) = transformers(name)
    values = re.findall(re.escape(json.dumps(MESSAGE)), json.dumps(transformed(transformer)))
    assert len(values) == len(transformer["InputPathsMap"])


def test_slack_message_has_no_external_text_as_markup() -> None:
    """Slack interprets markup in each text but the title of a field."""
    (transformer,) = transformers("cookbook/slack")
    posted = transformed(transformer)
    fields = [field for attachment in posted["attachments"] for field in attachment["fields"]]
    assert [field.pop("title") for field in fields] == [MESSAGE] * 3
    assert json.dumps(MESSAGE) not in json.dumps(posted)


@pytest.mark.parametrize("name", ["bus", "cookbook/slack"])
def test_paths_of_input_transformers_exist_in_the_event(name: str, events: dict[str, Any]) -> None:
    for resource in template(f"{name}.yaml")["Resources"].values():
        for target in resource.get("Properties", {}).get("Targets", []):
            for path in target.get("InputTransformer", {}).get("InputPathsMap", {}).values():
                found: Any = events["orders"]
                for part in path.removeprefix("$.").split("."):
                    found = found[part]
                assert isinstance(found, str)
