"""Compose: one service for each replica behind none, or one with ``deploy.replicas``.

    compose.yaml
    models.lock      of a pulled model
    api-key.txt      the key, if its file is named; private

Only fields that docker-compose 2.26 knows. Paths are relative to compose.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.deploy.description import (
    GRACE_S,
    LOCK_FILE,
    LOCK_FOLDER,
    MIB,
    MODELS,
    PORT,
    PROGRAM,
    USER,
    DeployFile,
)
from localrun.deploy.yaml import yaml_text
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.deploy.description import Deployment

KEY_FILE = "api-key.txt"
KEY_SECRET = "api-key"  # noqa: S105 - the name of a secret
HEALTH_S = "10s"


def compose_files(deployment: Deployment, api_key: str | None) -> list[DeployFile]:
    """Return the files.

    Raises:
        UsageError: several replicas, or a maximum of them, which one host's port cannot serve; or
            the model is in an image.
    """
    if deployment.num_replicas > 1 or deployment.max_replicas is not None:
        raise UsageError(
            "compose runs one replica: a second one would need another port and another GPU",
            hint="localrun deploy kubernetes   or   ray   for several",
        )
    if deployment.model.image is not None:
        raise UsageError(
            "compose cannot mount --model-image: its older versions know no such volumes",
            hint="localrun deploy quadlet   or   kubernetes   can",
        )
    services: dict[str, Any] = {}
    server = _server(deployment)
    if deployment.pulls:
        services["pull"] = _puller(deployment)
        server["depends_on"] = {"pull": {"condition": "service_completed_successfully"}}
    services["localrun"] = server
    document = {
        "name": deployment.name,
        "services": services,
        "volumes": {"models": {}},
        "secrets": {KEY_SECRET: {"file": f"./{KEY_FILE}"}},
    }
    files = [DeployFile(name="compose.yaml", text=yaml_text(document))]
    if deployment.model.lock is not None:
        files.append(DeployFile(name=LOCK_FILE, text=deployment.model.lock))
    if api_key is not None:
        files.append(DeployFile(name=KEY_FILE, text=f"deploy {api_key}\n", is_private=True))
    return files


def _server(deployment: Deployment) -> dict[str, Any]:
    server: dict[str, Any] = {
        **_common(deployment),
        "command": [*deployment.command, "--api-key-file", f"/run/secrets/{KEY_SECRET}"],
        "environment": deployment.environment,
        "ports": [f"127.0.0.1:{PORT}:{PORT}"],
        "secrets": [KEY_SECRET],
        "restart": "unless-stopped",
        "stop_grace_period": f"{GRACE_S}s",
        "mem_limit": f"{deployment.memory_bytes // MIB}m",
        "healthcheck": {
            "test": ["CMD", PROGRAM, "health"],
            "interval": HEALTH_S,
            "timeout": "5s",
            "retries": 6,
            "start_period": "30m",
        },
    }
    if deployment.num_gpus:
        device = {"driver": "nvidia", "count": deployment.num_gpus, "capabilities": ["gpu"]}
        server["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return server


def _puller(deployment: Deployment) -> dict[str, Any]:
    puller = _common(deployment)
    puller["volumes"] = [*puller["volumes"], f"./{LOCK_FILE}:{LOCK_FOLDER}/{LOCK_FILE}:ro"]
    return {
        **puller,
        "command": deployment.pull_command,
        "environment": deployment.pull_environment,
        "restart": "no",
    }


def _common(deployment: Deployment) -> dict[str, Any]:
    return {
        "image": deployment.image,
        "user": f"{USER}:{USER}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "volumes": [f"models:{MODELS}"],
    }
