"""The `ray up` file: as Ray's own schema has it, without credentials, with the image and ports of the others."""

import copy
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CONFIG = yaml.safe_load((ROOT / "infra" / "ray-up.yaml").read_text())


def prepared(config):
    config = prepare_config(copy.deepcopy(config))
    validate_config(config)
    return config


def test_ray_accepts_it_and_installs_nothing():
    config = prepared(CONFIG)
    for name in ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert config[name] == [], f"{name} would be run on every machine"
    with pytest.raises(Exception, match="availble_node_types"):
        prepared({**CONFIG, "availble_node_types": {}})


def test_the_head_has_no_work_and_the_groups_grow_from_nothing():
    types = CONFIG["available_node_types"]
    assert types[CONFIG["head_node_type"]]["resources"] == {"CPU": 0, "GPU": 0}
    workers = {name: one for name, one in types.items() if name != CONFIG["head_node_type"]}
    assert all(one["min_workers"] == 0 for one in workers.values())
    assert CONFIG["max_workers"] == sum(one["max_workers"] for one in workers.values())
    assert all(one["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot" for one in workers.values())


def test_images_and_credentials():
    assert CONFIG["docker"]["image"] == f"lesionforge:{VERSION}-cpu"
    assert CONFIG["available_node_types"]["gpu-spot"]["docker"]["worker_image"] == f"lesionforge:{VERSION}-cuda"
    for one in CONFIG["available_node_types"].values():
        assert one["node_config"]["IamInstanceProfile"] == {"Name": "lesionforge"}
    assert set(CONFIG["auth"]) == {"ssh_user"}  # Ray makes a key pair of its own


def test_the_dashboard_stays_on_loopback():
    (head,) = [command for command in CONFIG["head_start_ray_commands"] if "--head" in command]
    (worker,) = [command for command in CONFIG["worker_start_ray_commands"] if "--address" in command]
    assert "--dashboard-host=127.0.0.1" in head
    for command in (head, worker):
        assert re.search(r"--metrics-export-port=8080\b", command)
