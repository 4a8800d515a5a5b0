"""The rendered manifests of deploy/kubernetes are valid, restricted, and match the service.

Rendering needs kubectl, and the tests fail without it. They need no cluster.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.observability.metrics import ServiceMetrics
from app.settings import read_settings
from tests.app.fakes import FixedEngine, app_with

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
SCHEMAS = "1.34"
"""The oldest version in which every used feature is stable."""

pytestmark = pytest.mark.kubernetes

Manifest = dict[str, Any]


def render(overlay: Path) -> dict[str, Manifest]:
    """Return kind -> manifest of an overlay."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("kubectl is not installed; see kubernetes.io/docs/tasks/tools")
    done = subprocess.run([kubectl, "kustomize", str(overlay)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifests = list(yaml.safe_load_all(done.stdout))
    by_kind = {manifest["kind"]: manifest for manifest in manifests}
    assert len(by_kind) == len(manifests)
    return by_kind


def with_all_components(folder: Path, overlay: str) -> dict[str, Manifest]:
    """Render a copy of an overlay with all optional components."""
    shutil.copytree(FOLDER, folder / "kubernetes")
    path = folder / "kubernetes" / "overlays" / overlay / "kustomization.yaml"
    text = path.read_text("utf-8")
    assert "# - ../../components/" in text
    path.write_text(text.replace("# - ../../components/", "- ../../components/"), "utf-8")
    return render(path.parent)


@pytest.fixture(params=["cpu", "gpu", "cpu with all", "gpu with all"])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Manifest]:
    overlay, _, everything = request.param.partition(" ")
    return with_all_components(tmp_path, overlay) if everything else render(FOLDER / "overlays" / overlay)


def pod_of(manifests: dict[str, Manifest]) -> Manifest:
    spec: Manifest = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


def container_of(manifests: dict[str, Manifest]) -> Manifest:
    (container,) = pod_of(manifests)["containers"]
    found: Manifest = container
    return found


def test_manifests_match_schemas(manifests: dict[str, Manifest]) -> None:
    custom = manifests.pop("ServiceMonitor", None)  # defined by the operator; kubernetes_validate has no schema for it
    assert custom is None or custom["apiVersion"] == "monitoring.coreos.com/v1"
    assert len(manifests) >= 6
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, SCHEMAS, strict=True)


def test_schemas_refuse_misspelt_field() -> None:
    service = render(FOLDER / "overlays" / "cpu")["Service"]
    service["spec"]["portz"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="portz"):
        kubernetes_validate.validate(service, SCHEMAS, strict=True)


def test_variables_are_settings(manifests: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    given = manifests["ConfigMap"]["data"]
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    (port,) = container_of(manifests)["ports"]
    assert settings.port == port["containerPort"]
    assert settings.host == "0.0.0.0"
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container_of(manifests)["volumeMounts"]}
    assert mounts[str(settings.model_store)] is True
    assert mounts[str(settings.cache_dir)] is False
    assert settings.api_keys_file is None or mounts[str(settings.api_keys_file.parent)] is True
    assert {mount["name"] for mount in container_of(manifests)["volumeMounts"]} == {
        volume["name"] for volume in pod_of(manifests)["volumes"]
    }
    (source,) = container_of(manifests)["envFrom"]
    assert source["configMapRef"]["name"] == manifests["ConfigMap"]["metadata"]["name"]
    pause_s = container_of(manifests)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_of(manifests)["terminationGracePeriodSeconds"] > settings.drain_timeout_s + pause_s


def test_probes_use_paths_of_service(manifests: dict[str, Manifest]) -> None:
    paths = app_with(FixedEngine()).openapi()["paths"]
    asked = {
        name: container_of(manifests)[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert all("get" in paths[probe["path"]] for probe in asked.values())
    assert asked["livenessProbe"]["path"] == "/livez"
    assert asked["readinessProbe"]["path"] == asked["startupProbe"]["path"] == "/readyz"
    (port,) = container_of(manifests)["ports"]
    (published,) = manifests["Service"]["spec"]["ports"]
    (allowed,) = manifests["NetworkPolicy"]["spec"]["ingress"]
    named = {probe["port"] for probe in asked.values()} | {published["targetPort"], allowed["ports"][0]["port"]}
    assert named == {port["name"]}
    if "ServiceMonitor" in manifests:
        (endpoint,) = manifests["ServiceMonitor"]["spec"]["endpoints"]
        assert endpoint["port"] == published["name"]
        assert "get" in paths[endpoint["path"]]


def test_pods_meet_restricted_standard(manifests: dict[str, Manifest]) -> None:
    # kubernetes.io/docs/concepts/security/pod-security-standards, "Restricted"
    pod, container = pod_of(manifests), container_of(manifests)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    (user,) = re.findall(r"^USER (\d+):\d+$", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)[-1:]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == int(user)
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    assert pod["automountServiceAccountToken"] is False


def test_labels_select_pods(manifests: dict[str, Manifest]) -> None:
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Service"]["spec"]["selector"].items() <= labels.items()
    for kind, key in (
        ("Deployment", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        selected = manifests[kind]["spec"][key]["matchLabels"]
        assert selected
        assert selected.items() <= labels.items()


def test_autoscaler_uses_exposed_metric(tmp_path: Path) -> None:
    manifests = with_all_components(tmp_path, "cpu")
    scaler = manifests["HorizontalPodAutoscaler"]["spec"]
    exposed = ServiceMetrics().text().decode()
    names = [metric["pods"]["metric"]["name"] for metric in scaler["metrics"] if metric["type"] == "Pods"]
    assert names == ["detect_queue_depth"]
    assert all(f"\n# TYPE {name} gauge\n" in exposed for name in names)
    assert scaler["scaleTargetRef"]["name"] == manifests["Deployment"]["metadata"]["name"]
    assert (
        "replicas" not in manifests["Deployment"]["spec"]
    )  # otherwise each `apply` would undo the autoscaler's choice
    # the fallback metric is a fraction of the requested CPU
    assert "cpu" in container_of(manifests)["resources"]["requests"]


def test_gpu_overlay_requests_gpu() -> None:
    manifests = render(FOLDER / "overlays" / "gpu")
    assert container_of(manifests)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert manifests["ConfigMap"]["data"]["RENDERSIGHT_DEVICE"] == "cuda"


def test_fill_pod_writes_to_model_store() -> None:
    pod = yaml.safe_load((FOLDER / "fill.yaml").read_text("utf-8"))
    kubernetes_validate.validate(pod, SCHEMAS, strict=True)
    manifests = render(FOLDER / "overlays" / "cpu")
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for spec in (pod["spec"], pod_of(manifests))
        for volume in spec["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert claims == [manifests["PersistentVolumeClaim"]["metadata"]["name"]] * 2
    (container,) = pod["spec"]["containers"]
    assert container["image"] == container_of(manifests)["image"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
        manifests["ConfigMap"]["data"]["RENDERSIGHT_MODEL_STORE"]
    }
    assert pod["spec"]["securityContext"].items() <= pod_of(manifests)["securityContext"].items()
