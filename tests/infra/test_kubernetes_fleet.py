"""The manifests of several forwarders are consistent with those of one, with the settings and with the program.

No cluster is at hand. It is not proved that a cluster accepts them, replaces pods and spreads them.
"""

import os
import re
import shutil
import subprocess
import tomllib
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from forwarder.settings.models import Settings
from forwarder.settings.validators.ledger_url import TableLocation
from forwarder.vault import NAMES
from forwarder.vault.master_key import CREDENTIAL
from tests.infra import test_kubernetes as single
from tests.infra.templates import INFRA, template

FOLDER = INFRA / "kubernetes-fleet"
OPERATIONS = INFRA.parent / "docs" / "operations.md"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS = {
    manifest["kind"]: manifest
    for file in FOLDER.glob("*.yaml")
    for manifest in yaml.safe_load_all(file.read_text())
    if manifest["kind"] != "Kustomization"
}
DEPLOYMENT = MANIFESTS["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]
TABLE = tomllib.loads(MANIFESTS["ConfigMap"]["data"]["forwarder.toml"])
SETTINGS = Settings(**{key: value for key, value in TABLE.items() if key != "format"})
SECRET = MANIFESTS["Secret"]["stringData"]


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    """Return the manifests that kubectl applies, by kind."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed; it contains kustomize")
    command = ["kubectl", "kustomize", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60, env={"PATH": os.environ["PATH"]})  # noqa: S603  # a command of this test
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout)}


def test_kustomization_replaces_the_stateful_set(built: dict[str, Any]) -> None:
    assert built.keys() == {
        "ConfigMap", "Secret", "ServiceAccount", "Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy",
    }  # fmt: skip
    assert {manifest["metadata"]["name"] for manifest in built.values()} == {"forwarder"}


def test_kustomization_takes_settings_and_keys_of_the_fleet(built: dict[str, Any]) -> None:
    assert built["ConfigMap"]["data"] == MANIFESTS["ConfigMap"]["data"]
    assert built["Secret"]["stringData"] == SECRET
    for kind in ("Service", "NetworkPolicy", "ServiceAccount"):
        assert built[kind] == single.manifest_of(kind)


def test_kustomization_names_every_manifest() -> None:
    patches = [patch["path"] for patch in KUSTOMIZATION["patches"] if "path" in patch]
    named = {*KUSTOMIZATION["resources"], *patches} - {"../kubernetes"}
    assert named == {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}


def test_pods_are_several_and_replaced_without_a_gap() -> None:
    assert DEPLOYMENT["replicas"] == 3
    assert DEPLOYMENT["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_labels_select_the_pods() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    budget = MANIFESTS["PodDisruptionBudget"]["spec"]
    assert labels == DEPLOYMENT["selector"]["matchLabels"] == budget["selector"]["matchLabels"]
    assert labels == single.manifest_of("Service")["spec"]["selector"]
    assert labels == single.manifest_of("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    for constraint in POD["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == labels


def test_disruptions_leave_pods_and_do_not_wait_for_the_bus() -> None:
    budget = MANIFESTS["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] < DEPLOYMENT["replicas"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_pods_are_spread_over_zones_and_nodes() -> None:
    constraints = POD["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert {each["whenUnsatisfiable"] for each in constraints} == {"ScheduleAnyway"}


def test_pod_keeps_nothing_on_a_volume() -> None:
    kinds = {kind for volume in POD["volumes"] for kind in volume if kind != "name"}
    assert kinds == {"configMap", "secret", "emptyDir"}
    assert "volumeClaimTemplates" not in DEPLOYMENT


def test_pod_equals_the_one_of_the_stateful_set() -> None:
    """Its rights, probes, environment and time to stop are those that the other tests check."""
    for name in ("livenessProbe", "readinessProbe", "securityContext", "ports", "env", "args", "image", "resources"):
        assert CONTAINER[name] == single.CONTAINER[name], name
    assert CONTAINER["startupProbe"]["httpGet"] == single.CONTAINER["startupProbe"]["httpGet"]
    assert POD["automountServiceAccountToken"] is False
    assert POD["enableServiceLinks"] is False
    assert POD["securityContext"].items() <= single.POD["securityContext"].items()


def test_stop_timeout_is_longer_than_the_shutdown_grace() -> None:
    assert timedelta(seconds=POD["terminationGracePeriodSeconds"]) >= 2 * SETTINGS.run.shutdown_grace


def test_ledger_is_the_table_of_the_template() -> None:
    location = TableLocation.of(SETTINGS.ledger.url)
    assert location.table == template("ledger-table.yaml")["Parameters"]["TableName"]["Default"]
    assert location.region == SETTINGS.destination.region


def test_vault_and_master_key_are_read_from_the_secret() -> None:
    (mount,) = [mount for mount in CONTAINER["volumeMounts"] if mount["name"] == "credentials"]
    vault = PurePosixPath(SETTINGS.vault.file)
    assert str(vault.parent) == mount["mountPath"]
    assert {CREDENTIAL: "", vault.name: ""} == SECRET
    assert mount["readOnly"] is True


def test_documented_copy_runs_in_a_pod_of_the_stateful_set() -> None:
    """It has the volume, the settings and the keys of the one pod, and copies to the table of the fleet."""
    _, _, rest = OPERATIONS.read_text().partition("kubectl apply -f - <<'EOF'\n")
    pod = yaml.safe_load(rest.partition("   EOF\n")[0])
    (copy,) = pod["spec"]["containers"]
    for name in ("image", "env"):
        assert copy[name] == single.CONTAINER[name]
    assert all(mount in single.CONTAINER["volumeMounts"] for mount in copy["volumeMounts"])
    source, target = single.TABLE["ledger"]["url"], SETTINGS.ledger.url
    assert copy["args"] == ["ledger", "copy", source, target]
    volumes = {volume.pop("name"): volume for volume in pod["spec"]["volumes"]}
    (claim,) = single.manifest_of("StatefulSet")["spec"]["volumeClaimTemplates"]
    state = {"persistentVolumeClaim": {"claimName": f"{claim['metadata']['name']}-forwarder-0"}}
    others = {each["name"]: {key: each[key] for key in each if key != "name"} for each in single.POD["volumes"]}
    assert volumes == {"state": state, "settings": others["settings"], "credentials": others["credentials"]}
    assert pod["spec"]["serviceAccountName"] == single.POD["serviceAccountName"]
    assert pod["spec"]["securityContext"].items() <= single.POD["securityContext"].items()
    assert pod["metadata"]["labels"] == DEPLOYMENT["selector"]["matchLabels"]


def test_settings_of_the_config_map_hold_no_secret() -> None:
    text = (FOLDER / "configmap.yaml").read_text()
    assert not re.search(r"AKIA|secret_access|[A-Za-z0-9+/]{40,}", text)
    assert not [name for name in NAMES if name in text]
