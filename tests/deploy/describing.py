"""Deployments to print."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localrun.deploy.compose import compose_files
from localrun.deploy.description import DeployedModel, Deployment
from localrun.deploy.kubernetes import kubernetes_files
from localrun.deploy.quadlet import quadlet_files
from localrun.deploy.ray import ray_files

if TYPE_CHECKING:
    from localrun.deploy.description import DeployFile

KEY = "0123456789abcdef"
LOCK = '{\n  "format_version": 1,\n  "models": {}\n}\n'
PULLED = DeployedModel(
    name="qwen3:0.6b",
    files_bytes=639_446_688,
    needed_bytes=2_000_000_000,
    num_ctx=8192,
    num_parallel=16,
    lock=LOCK,
)
OWN = DeployedModel(
    name="guide",
    files_bytes=6_000_000,
    needed_bytes=40_000_000,
    num_ctx=2048,
    num_parallel=16,
    lock=None,
)


def deployment(model: DeployedModel = PULLED, **changed: Any) -> Deployment:
    known = {"name": "qwen3-0-6b", "model": model, "image": "registry.example/localrun:0.1.0"}
    return Deployment(**{**known, **changed})


def printed() -> dict[str, list[DeployFile]]:
    """Return the files of every target, with everything that can be stated."""
    scaled = deployment(num_replicas=2, max_replicas=4, num_gpus=1)
    in_image = replace(PULLED, name="mine", lock=None, image="registry.example/me/mine:1")
    return {
        "kubernetes-image": kubernetes_files(deployment(in_image, name="mine"), None),
        "quadlet-image": quadlet_files(deployment(in_image, name="mine")),
        "kubernetes": kubernetes_files(scaled, KEY),
        "kubernetes-plain": kubernetes_files(deployment(OWN, name="guide"), None),
        "compose": compose_files(deployment(num_gpus=1), KEY),
        "compose-plain": compose_files(deployment(OWN, name="guide"), None),
        "quadlet": quadlet_files(deployment(num_gpus=2)),
        "quadlet-plain": quadlet_files(deployment(OWN, name="guide")),
        "ray": ray_files(scaled, 1),
    }
