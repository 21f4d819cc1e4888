"""The manifests are consistent with each other, with the settings and with the image.

No cluster is at hand, so that a cluster accepts them is not proved.
"""

import os
import re
import shutil
import subprocess
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
KUSTOMIZATION = FOLDER / "kustomization.yaml"
FILES = [file for file in sorted(FOLDER.glob("*.yaml")) if file != KUSTOMIZATION]
MANIFESTS = [found for file in FILES for found in yaml.safe_load_all(file.read_text())]
ENDPOINTS = {"/livez", "/readyz", "/metrics"}


def manifest_of(kind: str) -> Any:
    (found,) = [manifest for manifest in MANIFESTS if manifest["kind"] == kind]
    return found


POD = manifest_of("StatefulSet")["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
TABLE = tomllib.loads(manifest_of("ConfigMap")["data"]["forwarder.toml"])
MOUNTS = {mount["name"]: mount for mount in CONTAINER["volumeMounts"]}
ENVIRONMENT = {variable["name"]: variable["value"] for variable in CONTAINER["env"]}


def test_manifests_have_every_needed_kind() -> None:
    kinds = {manifest["kind"] for manifest in MANIFESTS}
    assert kinds == {"ConfigMap", "Secret", "ServiceAccount", "StatefulSet", "Service", "NetworkPolicy"}
    assert {manifest["metadata"]["name"] for manifest in MANIFESTS} == {"forwarder"}


def test_metrics_are_reachable_while_the_pod_is_not_ready() -> None:
    """Without this, an outage of the bus removes the pod from the DNS name that Prometheus scrapes."""
    assert manifest_of("Service")["spec"]["publishNotReadyAddresses"] is True


def test_update_replaces_a_pod_that_is_not_ready() -> None:
    """With OrderedReady, the controller waits for the broken pod before it creates the corrected one."""
    assert manifest_of("StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"


def test_kustomization_names_every_manifest() -> None:
    kustomization = yaml.safe_load(KUSTOMIZATION.read_text())
    assert kustomization["resources"] == [file.name for file in FILES]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed; it contains kustomize")
def test_kustomization_builds_all_manifests() -> None:
    command = ["kubectl", "kustomize", str(FOLDER)]
    built = subprocess.run(  # noqa: S603  # a command of this test
        command, capture_output=True, check=True, timeout=60, env={"PATH": os.environ["PATH"]}
    )
    manifests = [each for each in yaml.safe_load_all(built.stdout) if each]

    def by_kind(each: Any) -> str:
        return str(each["kind"])

    assert sorted(manifests, key=by_kind) == sorted(MANIFESTS, key=by_kind)


def test_one_pod_is_selected_by_every_manifest() -> None:
    spec = manifest_of("StatefulSet")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["replicas"] == 1
    assert labels == spec["selector"]["matchLabels"] == manifest_of("Service")["spec"]["selector"]
    assert labels == manifest_of("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert spec["serviceName"] == manifest_of("Service")["metadata"]["name"]


def test_settings_of_the_config_map_are_valid_and_not_secret() -> None:
    settings = Settings(**{key: value for key, value in TABLE.items() if key != "format"})
    assert settings.enabled is False
    text = (FOLDER / "configmap.yaml").read_text()
    assert not re.search(r"AKIA|secret_access|[A-Za-z0-9+/]{40,}", text)
    assert not [name for name in NAMES if name in text]


def test_probes_request_existing_paths_at_the_health_port() -> None:
    (port,) = CONTAINER["ports"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe_status = CONTAINER[probe]["httpGet"]
        assert probe_status["path"] in ENDPOINTS
        assert probe_status["port"] == port["name"]
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert TABLE["web"]["health_listen"] == f"[::]:{port['containerPort']}"
    (served,) = manifest_of("Service")["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (port["containerPort"], port["name"])
    (ingress,) = manifest_of("NetworkPolicy")["spec"]["ingress"]
    assert [opened["port"] for opened in ingress["ports"]] == [port["containerPort"]]


def test_page_listens_on_loopback_only() -> None:
    assert TABLE["web"]["listen"].startswith("127.0.0.1:")


def test_master_key_is_read_from_its_mount() -> None:
    secret = manifest_of("Secret")
    assert list(secret["stringData"]) == [CREDENTIAL]
    assert secret["stringData"][CREDENTIAL] == ""
    assert ENVIRONMENT["CREDENTIALS_DIRECTORY"] == MOUNTS["credentials"]["mountPath"]
    (volume,) = [volume for volume in POD["volumes"] if volume["name"] == "credentials"]
    assert volume["secret"] == {"secretName": "forwarder", "defaultMode": 0o400}


def test_state_is_in_the_volume_and_settings_are_updated() -> None:
    state = PurePosixPath(MOUNTS["state"]["mountPath"])
    for written in (TABLE["vault"]["file"], TABLE["ledger"]["url"].removeprefix("sqlite:///")):
        assert PurePosixPath(written).parent == state
    assert PurePosixPath(ENVIRONMENT["FORWARDER_CONFIG"]).parent == PurePosixPath(MOUNTS["settings"]["mountPath"])
    assert "subPath" not in MOUNTS["settings"]
    assert arguments("VOLUME") == [str(state)]


def test_manifest_warns_of_network_volumes() -> None:
    (claim,) = manifest_of("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    text = (FOLDER / "statefulset.yaml").read_text()
    assert "WAL does not work" in text[: text.index("accessModes")].rsplit("spec:", 1)[1]


def test_storage_class_can_be_filled_in() -> None:
    """A cluster without a default class needs one. The line is a comment, so that others use their default."""
    text = (FOLDER / "statefulset.yaml").read_text()
    filled = re.sub(r"# (storageClassName: \S+)$", r"\1", text, count=1, flags=re.MULTILINE)
    for manifest, expected in ((text, None), (filled, "gp3")):
        (stateful_set,) = [each for each in yaml.safe_load_all(manifest) if each["kind"] == "StatefulSet"]
        (claim,) = stateful_set["spec"]["volumeClaimTemplates"]
        assert claim["spec"].get("storageClassName") == expected
        assert claim["spec"]["resources"] == {"requests": {"storage": "5Gi"}}


def test_pod_has_minimal_privileges() -> None:
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


def test_services_add_no_variables() -> None:
    assert POD["enableServiceLinks"] is False


def test_stop_timeout_is_longer_than_the_shutdown_grace() -> None:
    assert POD["terminationGracePeriodSeconds"] >= 2 * 20


def allowed(address: str, port: int, protocol: str = "TCP") -> bool:
    """Return whether a rule with an ipBlock lets the pod out to this address."""
    for rule in manifest_of("NetworkPolicy")["spec"]["egress"]:
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


@pytest.mark.parametrize(("namespace", "port"), [("kube-system", 53), ("openshift-dns", 5353)])
def test_network_policy_allows_the_cluster_dns(namespace: str, port: int) -> None:
    """On OpenShift, the pods of the DNS have a namespace and a port of their own."""
    (rule,) = [rule for rule in manifest_of("NetworkPolicy")["spec"]["egress"] if rule["ports"][0]["port"] == port]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}} in rule["to"]
    assert rule["ports"] == [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP")]


def test_probes_do_not_follow_the_tls_of_the_page() -> None:
    """The kubelet requests the health listener, which has plain HTTP whatever the page's listener has."""
    assert TABLE["web"]["health_listen"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert CONTAINER[probe]["httpGet"].get("scheme", "HTTP") == "HTTP"
