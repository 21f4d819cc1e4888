"""The parts of the templates that moto does not create are checked as text, and cfn-lint finds no problem."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator

from tests.infra.registry import registered_schema
from tests.infra.templates import INFRA, resources, template

TEMPLATES = sorted(INFRA.glob("*.yaml")) + sorted((INFRA / "cookbook").glob("*.yaml"))
RULES = resources("bus.yaml", "AWS::Events::Rule")


def got(attribute: str) -> dict[str, str]:
    return {"Fn::GetAtt": attribute}


def test_cfn_lint_is_content_with_every_template() -> None:
    command = [str(Path(sys.executable).with_name("cfn-lint")), *map(str, TEMPLATES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # of our environment
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_registered_schema_is_the_one_that_forwarder_schema_prints() -> None:
    (schema,) = resources("bus.yaml", "AWS::EventSchemas::Schema").values()
    assert schema["Type"] == "JSONSchemaDraft4"
    assert json.loads(schema["Content"]) == registered_schema(), "python -m tests.infra.registry"
    Draft4Validator.check_schema(registered_schema())


def test_every_target_of_a_rule_has_the_dead_letter_queue() -> None:
    queues = [target["DeadLetterConfig"]["Arn"] for rule in RULES.values() for target in rule["Targets"]]
    assert len(queues) == len(RULES) == 4
    assert all(queue == got("DeadLetters.Arn") for queue in queues)


def test_each_queue_lets_the_bus_write_and_nobody_else() -> None:
    policies = resources("bus.yaml", "AWS::SQS::QueuePolicy")
    statements = {
        policy["Queues"][0]["Ref"]: statement
        for policy in policies.values()
        for statement in policy["PolicyDocument"]["Statement"]
    }
    for queue, statement in statements.items():
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert statement["Resource"] == got(f"{queue}.Arn")
    assert statements["Failures"]["Condition"] == {"ArnEquals": {"aws:SourceArn": got("FailuresToQueue.Arn")}}
    bus, rules = statements["DeadLetters"]["Condition"]["ArnLike"]["aws:SourceArn"]
    assert bus == got("Bus.Arn")
    assert rules["Fn::Sub"].endswith(":rule/${EventBusName}/*")
    assert statements.keys() == {"Failures", "DeadLetters"}


def test_the_mail_topic_lets_its_rule_publish() -> None:
    (policy,) = resources("bus.yaml", "AWS::SNS::TopicPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Resource"] == {"Ref": "FailureMail"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": got("FailuresToMail.Arn")}}


def test_the_api_is_called_with_its_key_by_a_role_that_may_call_nothing_else() -> None:
    (connection,) = resources("bus.yaml", "AWS::Events::Connection").values()
    (api,) = resources("bus.yaml", "AWS::Events::ApiDestination").values()
    (role,) = resources("bus.yaml", "AWS::IAM::Role").values()
    (target,) = RULES["FailuresToApi"]["Targets"]
    assert connection["AuthParameters"]["ApiKeyAuthParameters"]["ApiKeyValue"] == {"Ref": "ApiKey"}
    assert template("bus.yaml")["Parameters"]["ApiKey"]["NoEcho"] is True
    assert (api["InvocationEndpoint"], api["ConnectionArn"]) == ({"Ref": "ApiUrl"}, got("ApiConnection.Arn"))
    assert (target["Arn"], target["RoleArn"], target["InputPath"]) == (got("Api.Arn"), got("ApiCaller.Arn"), "$.detail")
    ((statement,),) = [policy["PolicyDocument"]["Statement"] for policy in role["Policies"]]
    assert (statement["Action"], statement["Resource"]) == ("events:InvokeApiDestination", got("Api.Arn"))


def test_what_is_optional_is_left_out_together() -> None:
    by_condition: dict[str, set[str]] = {}
    for logical, resource in template("bus.yaml")["Resources"].items():
        if condition := resource.get("Condition"):
            by_condition.setdefault(condition, set()).add(logical)
    assert by_condition == {
        "ToApi": {"ApiConnection", "Api", "ApiCaller", "FailuresToApi", "ApiFailedInvocations", "ApiRetries"},
        "ToFailureEmail": {"FailureMail", "FailureMailPolicy", "FailuresToMail"},
        "ToAlarmEmail": {"AlarmsToMail"},
        "WithSchema": {"Registry", "Schema"},
        "WatchSilence": {"Silence"},
    }


def dimensions(alarm: dict[str, Any]) -> dict[str, Any]:
    return {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}


def test_every_alarm_tells_the_topic_and_watches_what_the_template_makes() -> None:
    alarms = resources("bus.yaml", "AWS::CloudWatch::Alarm")
    rules = [rule["Name"] for rule in RULES.values()]
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "Alarms"}]
        watched = dimensions(alarm)
        assert watched.get("RuleName") in [None, *rules]
        assert watched.get("EventBusName") in [None, {"Ref": "EventBusName"}]
    assert {logical: alarm["MetricName"] for logical, alarm in alarms.items()} == {
        "QueueFailedInvocations": "FailedInvocations",
        "ApiFailedInvocations": "FailedInvocations",
        "ApiRetries": "RetryInvocationAttempts",
        "DeadLettersWaiting": "ApproximateNumberOfMessagesVisible",
        "Silence": "MatchedEvents",
    }


def test_silence_is_alarming_and_no_news_of_failures_is_good_news() -> None:
    alarms = resources("bus.yaml", "AWS::CloudWatch::Alarm")
    missing = {logical: alarm["TreatMissingData"] for logical, alarm in alarms.items()}
    assert missing.pop("Silence") == "breaching"
    assert set(missing.values()) == {"notBreaching"}


def test_every_parameter_is_explained() -> None:
    for name in ("bus.yaml", "identity.yaml"):
        assert all(parameter["Description"] for parameter in template(name)["Parameters"].values())
