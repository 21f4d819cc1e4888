"""The service of ECS: its text agrees with the image and the settings, and moto creates it.

Moto ignores most properties of tasks and services, so that these are checked as text. No task runs in AWS.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from forwarder.cli.health import TIMEOUT_SECONDS
from forwarder.model import Feed
from forwarder.settings import ConfigSource, load
from forwarder.settings.local_sections import RunSettings
from forwarder.settings.models import setting_names, variable
from forwarder.settings.sections import SourceSettings
from tests.infra.policy import allows
from tests.infra.service import PARAMETERS, containers, deploy_service
from tests.infra.templates import Aws, moto, resources, template
from tests.infra.test_container import HEALTH, arguments

MAX_FARGATE_STOP_SECONDS = 120
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html"""

MAX_START_PERIOD_SECONDS = 300
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html"""


def only(kind: str) -> dict[str, Any]:
    (properties,) = resources("service.yaml", kind).values()
    return dict(properties)


TASK = only("AWS::ECS::TaskDefinition")
CONTAINERS = {container["Name"]: container for container in TASK["ContainerDefinitions"]}
FORWARDER, KEYS = CONTAINERS["forwarder"], CONTAINERS["keys"]
ARN = {"Ref": "AlloyApiKeyArn"}
ROLES = resources("service.yaml", "AWS::IAM::Role")


@pytest.fixture
def aws() -> Iterator[Aws]:
    with moto() as aws:
        yield aws


def test_service_and_task_are_created(aws: Aws) -> None:
    made = deploy_service(aws, DesiredCount="3")
    (service,) = aws.client("ecs").describe_services(cluster=made["Cluster"], services=[made["Service"]])["services"]
    assert service["desiredCount"] == 3
    assert made["Cluster"] in made["Restart"]
    assert made["Service"] in made["Restart"]


def test_update_keeps_all_forwarders_running() -> None:
    deployment = only("AWS::ECS::Service")["DeploymentConfiguration"]
    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (100, 200)
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}


def test_stop_timeout_is_longer_than_the_shutdown_grace() -> None:
    assert 2 * RunSettings().shutdown_grace <= timedelta(seconds=FORWARDER["StopTimeout"])
    assert FORWARDER["StopTimeout"] <= MAX_FARGATE_STOP_SECONDS


def test_health_check_is_the_one_of_the_image_after_the_start() -> None:
    """ECS allows a start period of 300 s at most. A start that works ends it."""
    check = FORWARDER["HealthCheck"]
    assert check["Command"] == ["CMD", *HEALTH, "--started"]
    assert check["StartPeriod"] == MAX_START_PERIOD_SECONDS
    assert check["Timeout"] >= 2 * TIMEOUT_SECONDS


def test_task_has_no_volume_that_outlives_it() -> None:
    """A volume with a name alone is a part of the task's own storage. Its path must be the VOLUME of the image."""
    assert TASK["Volumes"] == [{"Name": "state"}]
    for container in CONTAINERS.values():
        (mount,) = container["MountPoints"]
        assert [mount["ContainerPath"]] == arguments("VOLUME")
        assert container["ReadonlyRootFilesystem"] is True
        assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}


def test_only_the_container_that_seals_the_key_has_it() -> None:
    (secret,) = KEYS["Secrets"]
    assert secret["ValueFrom"] == ARN
    assert "Secrets" not in FORWARDER
    assert FORWARDER["DependsOn"] == [{"ContainerName": "keys", "Condition": "SUCCESS"}]
    assert KEYS["Essential"] is False


def test_variables_of_the_task_are_settings() -> None:
    names = {each["Name"] for each in FORWARDER["Environment"]} - {"TMPDIR"}
    assert names <= {variable(name) for name in setting_names()}
    assert variable("ledger.url") in names


def source_settings(aws: Aws, folder: Path, **parameters: str) -> SourceSettings:
    """Return the settings of [source] that a deployed task has."""
    environment = containers(aws, deploy_service(aws, **parameters))["forwarder"]["environment"]
    config_source = ConfigSource(folder / "forwarder.toml", {each["name"]: each["value"] for each in environment})
    config_source.file.touch()
    return load(config_source).source


def test_parameters_of_the_source_default_to_its_settings(aws: Aws, tmp_path: Path) -> None:
    assert source_settings(aws, tmp_path) == SourceSettings(workflows=(Feed("w"),))


def test_large_service_discovers_its_workflows(aws: Aws, tmp_path: Path) -> None:
    """A parameter holds 4,096 bytes, which is too little for the ids of a large account."""
    found = source_settings(aws, tmp_path, Workflows="[]", Discover="true", RequestsPerSecond="0.5")
    assert found == SourceSettings(discover=True, requests_per_second=0.5)


def test_service_watches_something() -> None:
    parameters, rules = template("service.yaml")["Parameters"], template("service.yaml")["Rules"]
    assert (parameters["Workflows"]["Default"], parameters["Discover"]["Default"]) == ("[]", "false")
    rule = rules["SomethingIsWatched"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Discover"}, "false"]}
    assert rule["Assertions"][0]["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "Workflows"}, "[]"]}]}


def test_log_outlives_a_failed_first_deployment() -> None:
    """The log explains the failure. Its name is generated, so that it does not prevent the next attempt."""
    log = template("service.yaml")["Resources"]["Log"]
    assert (log["DeletionPolicy"], log["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert log["Properties"].keys() == {"RetentionInDays"}


def fargate_memory(cpu: int) -> range:
    """Return the sizes of a task in MiB, of the documented ranges in steps of 1,024.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
    """
    ranges = {512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16384), 4096: (8192, 30720)}
    smallest, largest = ranges[cpu]
    return range(smallest, largest + 1, 1024)


def test_sizes_of_a_task_are_those_of_fargate() -> None:
    parameters, rules = template("service.yaml")["Parameters"], template("service.yaml")["Rules"].values()
    accepted = {
        int(rule["RuleCondition"]["Fn::Equals"][1]): rule["Assertions"][0]["Assert"]["Fn::Contains"]
        for rule in rules
        if rule["RuleCondition"]["Fn::Equals"][0] == {"Ref": "Cpu"}
    }
    assert list(accepted) == parameters["Cpu"]["AllowedValues"]
    for cpu, (sizes, memory) in accepted.items():
        offered = (512, 1024, 2048) if cpu == 256 else fargate_memory(cpu)
        assert memory == {"Ref": "Memory"}
        assert sizes == [str(size) for size in parameters["Memory"]["AllowedValues"] if size in offered]
    assert str(parameters["Memory"]["Default"]) in accepted[parameters["Cpu"]["Default"]][0]


def test_alarm_is_raised_when_no_task_runs() -> None:
    """A service whose tasks have all ended has no metric, so that missing data must raise the alarm.

    With a desired count of 0, it would be raised from the start.
    """
    assert template("service.yaml")["Parameters"]["DesiredCount"]["MinValue"] == 1
    (alarm,) = resources("service.yaml", "AWS::CloudWatch::Alarm").values()
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("AWS/ECS", "CPUUtilization", "SampleCount")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["Dimensions"] == [
        {"Name": "ClusterName", "Value": {"Ref": "Cluster"}},
        {"Name": "ServiceName", "Value": {"Fn::GetAtt": "Service.Name"}},
    ]
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    assert template("service.yaml")["Resources"]["NoTaskRuns"]["Condition"] == "WithTopic"
    for parameter in ("Type", "Default", "AllowedPattern"):
        of_table, of_service = (template(f"{name}.yaml")["Parameters"] for name in ("ledger-table", "service"))
        assert of_service["AlarmTopic"][parameter] == of_table["AlarmTopic"][parameter]


def test_nothing_reaches_the_tasks() -> None:
    group = only("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert {(rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]} == {(443, 443)}


def test_roles_are_assumed_by_tasks_of_the_account_only() -> None:
    assert ROLES.keys() == {"Identity", "Starter"}
    for role in ROLES.values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert TASK["TaskRoleArn"] == {"Fn::GetAtt": "Identity.Arn"}
    assert TASK["ExecutionRoleArn"] == {"Fn::GetAtt": "Starter.Arn"}


def test_forwarder_has_the_given_policies_and_no_secret() -> None:
    """ECS reads the secret with another role, so that the forwarder's own cannot read it again."""
    assert ROLES["Identity"]["ManagedPolicyArns"] == {"Ref": "PolicyArns"}
    assert "Policies" not in ROLES["Identity"]


def test_tasks_are_started_with_the_right_to_one_secret() -> None:
    (policy,) = ROLES["Starter"]["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    condition, with_key, without_key = statement["Resource"]["Fn::If"]
    assert condition == "WithSecretKey"
    assert (without_key, with_key) == ([ARN], [ARN, {"Ref": "SecretKeyArn"}])
    secret = PARAMETERS["AlloyApiKeyArn"]
    document = {"Statement": [{**statement, "Resource": [secret]}]}
    assert allows(document, "secretsmanager:GetSecretValue", secret, {})
    assert not allows(document, "secretsmanager:GetSecretValue", f"{secret}2", {})
    assert not allows(document, "secretsmanager:PutSecretValue", secret, {})
