"""The dashboard asks for what the engine exports, and for all of it; the scrape file is Prometheus'."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lesionforge.engine import telemetry

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "infra" / "grafana.json").read_text())
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPORTED = {metric.exported: metric for metric in telemetry.METRICS}
RAY_S_OWN = {"ray_node_gpus_utilization": {"ip", "GpuIndex"}}  # measured by Ray on every node, with these labels
RAY_S_LABELS = {"NodeAddress"}  # Ray puts it on every metric of ours


def named(expression):
    """The metrics that a query asks for."""
    return set(re.findall(r"\bray_\w+", expression))


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_a_query_asks_for_what_is_exported(title, expression):
    assert named(expression), title
    if named(expression) <= RAY_S_OWN.keys():
        by = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
        assert by <= set().union(*(RAY_S_OWN[name] for name in named(expression)))
        return
    assert named(expression) <= EXPORTED.keys()
    labels = set().union(*({"dataset", *EXPORTED[name].labels} for name in named(expression))) | RAY_S_LABELS
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= labels
    assert re.findall(r"ray_\w+\{([^}]*)\}", expression) == ['dataset=~"$dataset"'] * len(
        re.findall(r"ray_\w+", expression)
    )
    for function, name in re.findall(r"(\w+)\((ray_\w+)", expression):
        assert (function != "rate") if EXPORTED[name].type == "gauge" else (function != "deriv"), name


def test_every_metric_is_shown():
    shown = set().union(*(named(expression) for _, expression in QUERIES))
    assert shown == EXPORTED.keys() | RAY_S_OWN.keys()


def test_ray_exports_what_is_asked_of_it():
    from ray.dashboard.modules.reporter import reporter_agent

    for name, labels in RAY_S_OWN.items():
        assert name.removeprefix("ray_") in reporter_agent.METRICS_GAUGES
        assert labels <= set(reporter_agent.GPU_TAG_KEYS)


def test_panels_lie_beside_each_other():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"]))) <= variables | {"__all"}


def test_prometheus_scrapes_the_metrics_ports():
    config = yaml.safe_load((ROOT / "infra" / "prometheus.yaml").read_text())
    local, kubernetes = config["scrape_configs"]
    from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

    assert local["file_sd_configs"][0]["files"] == [f"/tmp/ray/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
    keep = kubernetes["relabel_configs"][0]
    cluster = yaml.safe_load((ROOT / "infra" / "kuberay" / "raycluster.yaml").read_text())["spec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert re.fullmatch(keep["regex"], ";".join(["yes", *(p["name"] for p in container["ports"][-1:])]))


def test_promtool_agrees(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    config = yaml.safe_load((ROOT / "infra" / "prometheus.yaml").read_text())
    del config["scrape_configs"][1]["kubernetes_sd_configs"]  # Debian's Prometheus is built without
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    command = [promtool, "check", "config", "--syntax-only", tmp_path / "prometheus.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
