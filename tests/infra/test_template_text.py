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


def get_att(attribute: str) -> dict[str, str]:
    return {"Fn::GetAtt": attribute}


def test_cfn_lint_accepts_every_template() -> None:
    command = [str(Path(sys.executable).with_name("cfn-lint")), *map(str, TEMPLATES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # of our environment
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_registered_schema_equals_the_printed_schema() -> None:
    (schema,) = resources("bus.yaml", "AWS::EventSchemas::Schema").values()
    assert schema["Type"] == "JSONSchemaDraft4"
    assert json.loads(schema["Content"]) == registered_schema(), "python -m tests.infra.registry"
    Draft4Validator.check_schema(registered_schema())


def test_each_rule_target_has_the_dead_letter_queue() -> None:
    queues = [target["DeadLetterConfig"]["Arn"] for rule in RULES.values() for target in rule["Targets"]]
    assert len(queues) == len(RULES) == 5
    assert all(queue == get_att("DeadLetters.Arn") for queue in queues)


def test_each_queue_allows_writes_of_the_bus_only() -> None:
    policies = resources("bus.yaml", "AWS::SQS::QueuePolicy")
    statements = {
        policy["Queues"][0]["Ref"]: statement
        for policy in policies.values()
        for statement in policy["PolicyDocument"]["Statement"]
    }
    for queue, statement in statements.items():
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert statement["Resource"] == get_att(f"{queue}.Arn")
    assert statements["Failures"]["Condition"] == {"ArnEquals": {"aws:SourceArn": get_att("FailuresToQueue.Arn")}}
    bus, rules = statements["DeadLetters"]["Condition"]["ArnLike"]["aws:SourceArn"]
    assert bus == get_att("Bus.Arn")
    assert rules["Fn::Sub"].endswith(":rule/${EventBusName}/*")
    assert statements["Canary"]["Condition"] == {"ArnEquals": {"aws:SourceArn": get_att("TestsToQueue.Arn")}}
    assert statements.keys() == {"Failures", "DeadLetters", "Canary"}


def test_canary_queue_is_encrypted_as_the_queue_of_failures() -> None:
    """So a test event that arrives proves that EventBridge may write to a queue with this encryption."""
    queues = resources("bus.yaml", "AWS::SQS::Queue")
    for name in ("Canary", "Failures"):
        assert queues[name]["SqsManagedSseEnabled"] is True
        assert "KmsMasterKeyId" not in queues[name]


def test_mail_topic_allows_its_rule_to_publish() -> None:
    (policy,) = resources("bus.yaml", "AWS::SNS::TopicPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Resource"] == {"Ref": "FailureMail"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": get_att("FailuresToMail.Arn")}}


def test_api_target_has_its_key_and_a_minimal_role() -> None:
    (connection,) = resources("bus.yaml", "AWS::Events::Connection").values()
    (api,) = resources("bus.yaml", "AWS::Events::ApiDestination").values()
    (role,) = resources("bus.yaml", "AWS::IAM::Role").values()
    (target,) = RULES["FailuresToApi"]["Targets"]
    assert connection["AuthParameters"]["ApiKeyAuthParameters"]["ApiKeyValue"] == {"Ref": "ApiKey"}
    assert template("bus.yaml")["Parameters"]["ApiKey"]["NoEcho"] is True
    assert (api["InvocationEndpoint"], api["ConnectionArn"]) == ({"Ref": "ApiUrl"}, get_att("ApiConnection.Arn"))
    assert (target["Arn"], target["RoleArn"], target["InputPath"]) == (
        get_att("Api.Arn"),
        get_att("ApiCaller.Arn"),
        "$.detail",
    )
    ((statement,),) = [policy["PolicyDocument"]["Statement"] for policy in role["Policies"]]
    assert (statement["Action"], statement["Resource"]) == ("events:InvokeApiDestination", get_att("Api.Arn"))


def test_each_level_of_the_delivery_log_has_a_source() -> None:
    """A source delivers one type of log, so that each level needs its own source and delivery."""
    bus = resources("bus.yaml", "AWS::Events::EventBus")["Bus"]
    assert bus["LogConfig"] == {"Level": {"Ref": "LogLevel"}, "IncludeDetail": "FULL"}
    sources = resources("bus.yaml", "AWS::Logs::DeliverySource").values()
    assert {source["LogType"] for source in sources} == {"ERROR_LOGS", "INFO_LOGS", "TRACE_LOGS"}
    assert all(source["ResourceArn"] == get_att("Bus.Arn") for source in sources)
    deliveries = resources("bus.yaml", "AWS::Logs::Delivery").values()
    names = [delivery["DeliverySourceName"] for delivery in deliveries]
    assert names == [source["Name"] for source in sources]


def test_optional_resources_share_their_condition() -> None:
    by_condition: dict[str, set[str]] = {}
    for logical, resource in template("bus.yaml")["Resources"].items():
        if condition := resource.get("Condition"):
            by_condition.setdefault(condition, set()).add(logical)
    assert by_condition == {
        "ToApi": {"ApiConnection", "Api", "ApiCaller", "FailuresToApi", "ApiFailedInvocations", "ApiRetries"},
        "ToFailureEmail": {"FailureMail", "FailureMailPolicy", "FailuresToMail"},
        "ToAlarmEmail": {"AlarmsToMail"},
        "WithArchive": {"Archive"},
        "WithSchema": {"Registry", "Schema"},
        "LogErrors": {"DeliveryLog", "DeliveryLogDestination", "ErrorLogSource", "ErrorLog"},
        "LogDeliveries": {"InfoLogSource", "InfoLog"},
        "LogSteps": {"TraceLogSource", "TraceLog"},
        "LogEvents": {"EverythingToLog", "Log", "LogMayBeWritten"},
        "WatchSilence": {"Silence"},
    }


def test_failed_creation_keeps_nothing_with_a_fixed_name() -> None:
    """Otherwise each further attempt fails, because a bus, queue, bucket or table of that name already exists."""
    resources_by_name = {
        f"{file.stem}/{logical}": resource
        for file in TEMPLATES
        for logical, resource in template(str(file.relative_to(INFRA)))["Resources"].items()
    }
    outliving = {
        name for name, resource in resources_by_name.items() if resource.get("DeletionPolicy") == "RetainExceptOnCreate"
    }
    assert outliving == {"bus/Bus", "bus/DeadLetters", "bus/Archive", "payloads/Payloads", "ledger-table/Ledger"}
    assert {resources_by_name[name]["UpdateReplacePolicy"] for name in outliving} == {"Retain"}
    for name, resource in resources_by_name.items():
        if resource.get("DeletionPolicy") == "Retain":
            assert not [key for key in resource["Properties"] if key.endswith("Name")], name


def dimensions(alarm: dict[str, Any]) -> dict[str, Any]:
    return {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}


def test_each_alarm_notifies_the_topic_about_own_resources() -> None:
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
        "SetAsideWaiting": "ApproximateNumberOfMessagesVisible",
        "Silence": "MatchedEvents",
    }


def test_each_queue_of_undelivered_messages_has_an_alarm() -> None:
    """One has the events that no target accepted, the other one the messages that the consumer failed to process."""
    alarms = resources("bus.yaml", "AWS::CloudWatch::Alarm")
    by_queue = {
        str(queue): {
            key: value for key, value in alarm.items() if key not in ("AlarmName", "AlarmDescription", "Dimensions")
        }
        for alarm in alarms.values()
        if (queue := dimensions(alarm).get("QueueName", {}).get("Fn::GetAtt"))
    }
    assert by_queue.keys() == {"DeadLetters.QueueName", "FailuresSetAside.QueueName"}
    assert by_queue["FailuresSetAside.QueueName"] == by_queue["DeadLetters.QueueName"]


def test_missing_data_alarms_for_silence_only() -> None:
    alarms = resources("bus.yaml", "AWS::CloudWatch::Alarm")
    missing = {logical: alarm["TreatMissingData"] for logical, alarm in alarms.items()}
    assert missing.pop("Silence") == "breaching"
    assert set(missing.values()) == {"notBreaching"}


def test_each_parameter_has_a_description() -> None:
    for file in INFRA.glob("*.yaml"):
        assert all(parameter["Description"] for parameter in template(file.name)["Parameters"].values())
