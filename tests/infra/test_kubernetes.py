"""The Kubernetes files: fields as KubeRay's own schema has them, and names, images, ports and commands that agree."""

import copy
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from lesionforge.engine import recipe_yaml
from lesionforge.engine.ray import placement
from lesionforge.engine.recipe import ResourcesRecipe

ROOT = Path(__file__).resolve().parents[2]
KUBE = ROOT / "infra" / "kuberay"
SCHEMA = Path(__file__).parent / "kuberay_v1.7.0.json"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
RAY = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def documents(name):
    return {d["kind"]: d for d in yaml.safe_load_all((KUBE / name).read_text())}


CLUSTER = documents("raycluster.yaml")["RayCluster"]
JOB = documents("rayjob.yaml")["RayJob"]
RECIPE = documents("rayjob.yaml")["ConfigMap"]
POLICY = documents("networkpolicy.yaml")["NetworkPolicy"]


def strict(node):
    """The schema as it refuses what it does not name, which a server would drop without a word."""
    if isinstance(node, dict):
        node = {key: strict(value) for key, value in node.items()}
        open_ = "additionalProperties" in node or node.get("x-kubernetes-preserve-unknown-fields")
        if node.get("type") == "object" and isinstance(node.get("properties"), dict) and not open_:
            node["additionalProperties"] = False
    return [strict(item) for item in node] if isinstance(node, list) else node


def validate(document):
    schema = strict(json.loads(SCHEMA.read_text()))
    Draft202012Validator({"$ref": f"#/$defs/{document['kind']}", **schema}).validate(document)


def pods():
    """Every pod template of the cluster, with its group's parameters."""
    spec = CLUSTER["spec"]
    head = spec["headGroupSpec"]
    groups = {group["groupName"]: (group["rayStartParams"], group["template"]) for group in spec["workerGroupSpecs"]}
    return {"head": (head["rayStartParams"], head["template"]), **groups}


def test_the_fields_are_kuberay_s():
    validate(CLUSTER)
    validate(JOB)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.backofLimit", 3),
        ("spec.backoffLimit", "three"),
        ("spec.rayClusterSpec.autoscalerOptions.idleTimeoutSecond", 60),
        ("spec.rayClusterSpec.authOptions.mode", "password"),
        ("spec.rayClusterSpec.workerGroupSpecs.1.maxReplica", 8),
        ("spec.rayClusterSpec.workerGroupSpecs.1.template.spec.toleration", []),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.containers.0.envFrom.0.secretRefs", {}),
    ],
)
def test_the_schema_refuses_a_slip(path, value):
    slipped = at = copy.deepcopy(JOB)
    *keys, last = path.split(".")
    for key in keys:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[last] = value
    with pytest.raises(ValidationError):
        validate(slipped)


def test_the_job_s_cluster_is_the_cluster():
    spec = copy.deepcopy(JOB["spec"]["rayClusterSpec"])
    pod = spec["headGroupSpec"]["template"]["spec"]
    (mount,) = pod["containers"][0].pop("volumeMounts")
    (volume,) = pod.pop("volumes")
    assert spec == CLUSTER["spec"]
    assert mount["name"] == volume["name"]
    assert volume["configMap"]["name"] == RECIPE["metadata"]["name"]


def test_a_job_that_starts_again_is_safe_to_start_again():
    spec = JOB["spec"]
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True
    words = shlex.split(spec["entrypoint"])
    (mount,) = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert words[:3] == ["lesionforge", "generate", f"{mount['mountPath']}/{next(iter(RECIPE['data']))}"]
    assert float(words[words.index("--wait-for-nodes") + 1]) >= 600  # the groups start from nothing
    assert words[words.index("--out") + 1].startswith("s3://")


def test_the_recipe_has_room_in_the_groups(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE["data"]["recipe.yaml"])
    resources = recipe_yaml.load(path).resources
    words = shlex.split(JOB["spec"]["entrypoint"])
    nodes = [node for group in CLUSTER["spec"]["workerGroupSpecs"] for node in [size(group)] * group["maxReplicas"]]
    assert placement.places(nodes, resources) >= int(words[words.index("--workers") + 1])
    half = ResourcesRecipe(cpus=1, gpus=0.5)
    assert placement.places(nodes, half) == 2 * CLUSTER["spec"]["workerGroupSpecs"][1]["maxReplicas"]


def size(group):
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    return {"CPU": float(limits["cpu"]), "GPU": float(limits.get("nvidia.com/gpu", 0))}


def test_the_head_works_for_the_cluster_alone():
    parameters, _ = pods()["head"]
    assert (parameters["num-cpus"], parameters["num-gpus"]) == ("0", "0")
    assert CLUSTER["spec"]["enableInTreeAutoscaling"] is True
    for group in CLUSTER["spec"]["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]


@pytest.mark.parametrize("group", ["cpu", "gpu-spot"])
def test_a_pod_that_must_go_may_end_its_shard(group):
    spec = pods()[group][1]["spec"]
    env = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
    drain = float(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert 0 < drain < spec["terminationGracePeriodSeconds"]
    from ray._private import ray_constants

    assert hasattr(ray_constants, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S")  # the name that this Ray heeds


def test_spot_gpus_are_for_those_who_tolerate_them():
    spec = pods()["gpu-spot"][1]["spec"]
    keys = {toleration["key"] for toleration in spec["tolerations"]}
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"} <= keys
    assert "tolerations" not in pods()["cpu"][1]["spec"]
    assert size(CLUSTER["spec"]["workerGroupSpecs"][1])["GPU"] == 1


@pytest.mark.parametrize("group", ["head", "cpu", "gpu-spot"])
def test_pods_agree_with_image_ray_and_ports(group):
    parameters, template = pods()[group]
    (container,) = template["spec"]["containers"]
    target = "cuda" if "gpu" in group else "cpu"
    assert container["image"] == f"lesionforge:{VERSION}-{target}"
    assert CLUSTER["spec"]["rayVersion"] == RAY
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["metrics"] == int(parameters["metrics-export-port"]) == 8080
    assert "dashboard" not in ports or ports["dashboard"] == 8265
    assert container["resources"]["requests"] == container["resources"]["limits"]  # what Ray counts is what there is
    memory = {"Gi": 2**30}
    limit = container["resources"]["limits"]["memory"]
    assert int(parameters["object-store-memory"]) < int(limit[:-2]) * memory[limit[-2:]] / 8


@pytest.mark.parametrize("group", ["head", "cpu", "gpu-spot"])
def test_pods_run_without_privileges_and_without_secrets(group):
    spec = pods()[group][1]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert {one["name"] for one in container["env"]} <= {"LESIONFORGE_LOG", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"}
    assert container["envFrom"] == [{"secretRef": {"name": "lesionforge-s3", "optional": True}}]
    assert group == "head" or spec["automountServiceAccountToken"] is False


def test_nothing_is_open_to_the_world():
    assert CLUSTER["spec"]["authOptions"]["mode"] == "token"
    assert CLUSTER["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "enableIngress" not in CLUSTER["spec"]["headGroupSpec"]
    assert POLICY["spec"]["policyTypes"] == ["Ingress"]
    for rule in POLICY["spec"]["ingress"]:
        assert rule["from"], "a rule without `from` opens to everybody"
        for peer in rule["from"]:
            assert any(selector.get("matchLabels") for selector in peer.values())
        if "namespaceSelector" in rule["from"][0]:
            assert {port["port"] for port in rule["ports"]} <= {8265, 8080}


def test_the_files_hold_no_credential():
    for path in (ROOT / "infra").rglob("*.y*ml"):
        text = "\n".join(line.partition("#")[0] for line in path.read_text().splitlines())
        assert not re.search(r"(AKIA|ASIA)[A-Z0-9]{12}|SECRET_ACCESS_KEY|password\s*:|token\s*:\s*\S{8}", text, re.I), (
            path
        )
