"""The queries of alarms and dashboard parse and name existing metrics, and alarms fire exactly when they should."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests.infra.metric_names import METRIC_LABELS, TARGET_LABELS, labels_in, metrics_in
from tests.infra.templates import INFRA, resources
from tests.infra.tools import needs

PROMETHEUS = INFRA / "prometheus"
DASHBOARD = INFRA / "grafana" / "dashboard.json"
RUNBOOK = INFRA.parent / "docs" / "runbook.md"
OPERATIONS = INFRA.parent / "docs" / "operations.md"

with_promtool = needs("promtool", "prometheus")


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def queries() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return shown + [alert["expr"] for alert in alerts()]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607


def anchors() -> set[str]:
    """Return the anchors of the headings, as Markdown viewers make them."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_documented_target_is_the_health_listener() -> None:
    """The web UI has another port: it is open to this machine only, unless it has TLS."""
    section = OPERATIONS.read_text().split("## Watch it")[1].split("\n## ")[0]
    example = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])
    (job,) = example["scrape_configs"]
    ((target,),) = [static["targets"] for static in job["static_configs"]]
    health_listen = {
        tomllib.loads(manifest["data"]["forwarder.toml"])["web"]["health_listen"]
        for file in INFRA.glob("kubernetes*/configmap.yaml")
        for manifest in yaml.safe_load_all(file.read_text())
    }
    assert {address.rpartition(":")[2] for address in health_listen} == {target.rpartition(":")[2]}
    assert all(f'"{address}"' in section for address in (target, *health_listen))
    assert job["job_name"] in (PROMETHEUS / "alerts.yaml").read_text()


@with_promtool
def test_each_alarm_fires_exactly_when_it_should() -> None:
    done = promtool("test", "rules", str(PROMETHEUS / "alerts.test.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


@with_promtool
def test_each_query_of_the_dashboard_parses(tmp_path: Path) -> None:
    shown = [target["expr"].replace("$__rate_interval", "5m") for panel in panels() for target in panel["targets"]]
    rules = [{"record": f"shown:{number}", "expr": query} for number, query in enumerate(shown)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": rules}]}))
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alarm_has_a_test() -> None:
    tried = yaml.safe_load((PROMETHEUS / "alerts.test.yaml").read_text())["tests"]
    fired = {case["alertname"] for test in tried for case in test["alert_rule_test"] if case.get("exp_alerts")}
    silent = {case["alertname"] for test in tried for case in test["alert_rule_test"] if not case.get("exp_alerts")}
    assert fired == silent == {alert["alert"] for alert in alerts()}


def test_each_query_has_existing_metrics_and_labels() -> None:
    for query in queries():
        assert metrics_in(query) <= METRIC_LABELS.keys(), query
        for name, labels in labels_in(query).items():
            assert labels <= METRIC_LABELS[name] | TARGET_LABELS, query


def test_no_query_adds_values_of_the_whole_ledger() -> None:
    """Each process on a shared ledger has them, so a sum counts the fleet once for each process."""
    of_ledger = "forwarder_(events_pending|source_unread_seconds|fleet_members)"
    assert not [query for query in queries() if re.search(rf"\b(sum|avg|count)[^(]*\([^)]*{of_ledger}", query)]


def test_each_metric_is_on_the_dashboard() -> None:
    assert set().union(*(metrics_in(target["expr"]) for panel in panels() for target in panel["targets"])) == set(
        METRIC_LABELS
    )


def test_each_alarm_has_a_description_and_a_runbook_link() -> None:
    for alert in alerts():
        notes = alert["annotations"]
        assert notes["summary"]
        assert notes["description"]
        where, _, anchor = notes["runbook_url"].partition("#")
        assert where == "docs/runbook.md"
        assert anchor in anchors(), alert["alert"]


def test_each_cloudwatch_alarm_has_a_runbook_link() -> None:
    alarms: dict[str, dict[str, str]] = {}
    for file in INFRA.glob("*.yaml"):
        alarms |= resources(file.name, "AWS::CloudWatch::Alarm")
    assert alarms.keys() >= {"Silence", "SystemErrors", "NoTaskRuns"}
    for logical, alarm in alarms.items():
        where, _, anchor = alarm["AlarmDescription"].partition("#")
        assert where.endswith(" docs/runbook.md"), logical
        assert anchor in anchors(), logical


def test_each_runbook_has_meaning_checks_and_actions() -> None:
    text = RUNBOOK.read_text()
    for alert in alerts():
        heading = alert["annotations"]["runbook_url"].partition("#")[2].replace("-", " ")
        section = re.split(r"^#+ ", text.lower().split(f"### {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
        for word in ("**means.**", "**look.**", "**do.**"):
            assert word in section, heading


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
