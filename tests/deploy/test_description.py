from __future__ import annotations

from typing import Any

import pytest

from localrun.deploy.compose import compose_files
from localrun.deploy.description import check_deployment, object_name
from localrun.deploy.quadlet import quadlet_files
from localrun.errors import UsageError
from tests.deploy.describing import deployment


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("qwen3:0.6b", "qwen3-0-6b"),
        ("guide:latest", "guide"),
        ("hf.co/Owner/Model_x:Q4_K_M", "hf-co-owner-model-x-q4-k-m"),
        ("---", "model"),
        ("x" * 100, "x" * 40),
    ],
)
def test_names_of_models_become_labels(name: str, label: str) -> None:
    assert object_name(name) == label
    check_deployment(deployment(name=label))


@pytest.mark.parametrize(
    ("changed", "option"),
    [
        ({"name": "Big"}, "--name"),
        ({"name": "-x"}, "--name"),
        ({"name": "x" * 41}, "--name"),
        ({"image": "a b"}, "--image"),
        ({"image": "$(reboot)"}, "--image"),
        ({"num_replicas": 0}, "--replicas"),
        ({"num_replicas": 1001}, "--replicas"),
        ({"num_replicas": 2, "max_replicas": 2}, "--max-replicas"),
        ({"num_gpus": -1}, "--gpu"),
        ({"num_gpus": 65}, "--gpu"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_option(
    changed: dict[str, Any], option: str
) -> None:
    with pytest.raises(UsageError, match=option):
        check_deployment(deployment(**changed))


def test_one_host_runs_one_replica() -> None:
    several: tuple[dict[str, Any], ...] = ({"num_replicas": 2}, {"max_replicas": 2})

    for changed in several:
        with pytest.raises(UsageError, match="one replica"):
            compose_files(deployment(**changed), None)
        with pytest.raises(UsageError, match="one replica"):
            quadlet_files(deployment(**changed))
