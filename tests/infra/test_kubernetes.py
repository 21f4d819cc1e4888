"""The manifests, read: whether they agree with each other, with the settings and with the image.

No cluster is at hand, so that a cluster accepts them is not proved.
"""

import re
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from forwarder.settings.models import Settings
from forwarder.vault import NAMES
from forwarder.vault.master_key import CREDENTIAL
from tests.infra.templates import INFRA
from tests.infra.test_container import arguments

FOLDER = INFRA / "kubernetes"
MANIFESTS = [found for file in sorted(FOLDER.glob("*.yaml")) for found in yaml.safe_load_all(file.read_text())]
DOORS = {"/livez", "/readyz", "/metrics"}


def the(kind: str) -> Any:
    (found,) = [manifest for manifest in MANIFESTS if manifest["kind"] == kind]
    return found


POD = the("StatefulSet")["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
TABLE = tomllib.loads(the("ConfigMap")["data"]["forwarder.toml"])
MOUNTS = {mount["name"]: mount for mount in CONTAINER["volumeMounts"]}
ENVIRONMENT = {variable["name"]: variable["value"] for variable in CONTAINER["env"]}


def test_there_is_what_a_pod_needs() -> None:
    kinds = {manifest["kind"] for manifest in MANIFESTS}
    assert kinds == {"ConfigMap", "Secret", "ServiceAccount", "StatefulSet", "Service", "NetworkPolicy"}
    assert {manifest["metadata"]["name"] for manifest in MANIFESTS} == {"forwarder"}


def test_there_is_one_pod_and_everything_selects_it() -> None:
    spec = the("StatefulSet")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["replicas"] == 1
    assert labels == spec["selector"]["matchLabels"] == the("Service")["spec"]["selector"]
    assert labels == the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert spec["serviceName"] == the("Service")["metadata"]["name"]


def test_the_settings_are_valid_and_hold_no_secret() -> None:
    settings = Settings(**{key: value for key, value in TABLE.items() if key != "format"})
    assert settings.enabled is False
    text = (FOLDER / "configmap.yaml").read_text()
    assert not re.search(r"AKIA|secret_access|[A-Za-z0-9+/]{40,}", text)
    assert not [name for name in NAMES if name in text]


def test_the_probes_ask_doors_that_there_are_at_the_port_that_the_settings_open() -> None:
    (port,) = CONTAINER["ports"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = CONTAINER[probe]["httpGet"]
        assert asked["path"] in DOORS
        assert asked["port"] == port["name"]
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert TABLE["web"]["health_listen"] == f"0.0.0.0:{port['containerPort']}"
    (served,) = the("Service")["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (port["containerPort"], port["name"])
    (ingress,) = the("NetworkPolicy")["spec"]["ingress"]
    assert [opened["port"] for opened in ingress["ports"]] == [port["containerPort"]]


def test_the_page_is_for_the_pod_alone() -> None:
    assert TABLE["web"]["listen"].startswith("127.0.0.1:")


def test_the_master_key_is_found_where_it_is_mounted() -> None:
    secret = the("Secret")
    assert list(secret["stringData"]) == [CREDENTIAL]
    assert secret["stringData"][CREDENTIAL] == ""
    assert ENVIRONMENT["CREDENTIALS_DIRECTORY"] == MOUNTS["credentials"]["mountPath"]
    (volume,) = [volume for volume in POD["volumes"] if volume["name"] == "credentials"]
    assert volume["secret"] == {"secretName": "forwarder", "defaultMode": 0o400}


def test_what_is_written_is_in_the_volume_and_what_is_read_is_brought_up_to_date() -> None:
    state = PurePosixPath(MOUNTS["state"]["mountPath"])
    for written in (TABLE["vault"]["file"], TABLE["ledger"]["url"].removeprefix("sqlite:///")):
        assert PurePosixPath(written).parent == state
    assert PurePosixPath(ENVIRONMENT["FORWARDER_CONFIG"]).parent == PurePosixPath(MOUNTS["settings"]["mountPath"])
    assert "subPath" not in MOUNTS["settings"]
    assert arguments("VOLUME") == [str(state)]


def test_a_person_who_would_try_a_network_volume_is_told() -> None:
    (claim,) = the("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    text = (FOLDER / "statefulset.yaml").read_text()
    assert "WAL does not work" in text[: text.index("accessModes")].rsplit("spec:", 1)[1]


def test_the_pod_may_do_nothing_but_its_work() -> None:
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    assert [f"{pod['runAsUser']}:{pod['runAsGroup']}"] == arguments("USER")
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["automountServiceAccountToken"] is False


def test_the_drain_is_longer_than_the_grace() -> None:
    assert POD["terminationGracePeriodSeconds"] >= 2 * 20


def allowed(address: str, port: int, protocol: str = "TCP") -> bool:
    """Return whether a rule with an ipBlock lets the pod out to this address."""
    for rule in the("NetworkPolicy")["spec"]["egress"]:
        if {"protocol": protocol, "port": port} not in rule["ports"]:
            continue
        for block in (to["ipBlock"] for to in rule["to"] if "ipBlock" in to):
            inside = ip_address(address) in ip_network(block["cidr"])
            if inside and not any(ip_address(address) in ip_network(each) for each in block.get("except", ())):
                return True
    return False


@pytest.mark.parametrize(
    ("address", "port", "protocol", "expected"),
    [
        ("52.95.110.1", 443, "TCP", True),
        ("2a05:d018::1", 443, "TCP", True),
        ("52.95.110.1", 80, "TCP", False),
        ("10.0.0.5", 5432, "TCP", False),
        ("169.254.170.23", 80, "TCP", True),  # EKS Pod Identity
        ("fd00:ec2::23", 80, "TCP", True),
        ("169.254.20.10", 53, "UDP", True),  # the node-local DNS cache
        ("169.254.20.10", 53, "TCP", True),
        ("169.254.169.254", 53, "UDP", True),  # GKE with Cloud DNS
        ("169.254.169.254", 80, "TCP", False),  # the node's own identity
        ("169.254.169.254", 443, "TCP", False),
        ("fd00:ec2::254", 80, "TCP", False),
        ("fd00:ec2::254", 443, "TCP", False),
        ("169.254.170.2", 80, "TCP", False),
    ],
)
def test_network_policy_egress_is_what_the_pod_needs(address: str, port: int, protocol: str, expected: bool) -> None:
    assert allowed(address, port, protocol) is expected


def test_network_policy_allows_the_cluster_dns() -> None:
    (rule,) = [rule for rule in the("NetworkPolicy")["spec"]["egress"] if rule["ports"][0]["port"] == 53]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}} in rule["to"]


def test_probes_do_not_follow_the_tls_of_the_page() -> None:
    """The kubelet asks the health listener, which speaks plain HTTP whatever the page's listener does."""
    assert TABLE["web"]["health_listen"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert CONTAINER[probe]["httpGet"].get("scheme", "HTTP") == "HTTP"
