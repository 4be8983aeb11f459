"""Quadlet: units of systemd that podman 5 runs.

    NAME.container        the server
    NAME-pull.container   the download of a pulled model, before the server
    NAME.volume           the model's files
    models.lock           beside the units, for a pulled model

The key is a secret of podman: no unit has it. A path that begins with ``./`` is relative to the
folder of its unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.deploy.description import (
    GRACE_S,
    LOCK_FILE,
    LOCK_FOLDER,
    MIB,
    MODEL_IMAGE,
    MODELS,
    PORT,
    PROGRAM,
    USER,
    DeployFile,
)
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localrun.deploy.description import Deployment

GPU_DEVICE = "nvidia.com/gpu"


def quadlet_files(deployment: Deployment) -> list[DeployFile]:
    """Return the units.

    Raises:
        UsageError: several replicas, or a maximum of them, which one host's port cannot serve.
    """
    if deployment.num_replicas > 1 or deployment.max_replicas is not None:
        raise UsageError(
            "quadlet runs one replica: a second one would need another port and another GPU",
            hint="localrun deploy kubernetes   or   ray   for several",
        )
    name = deployment.name
    files = [DeployFile(name=f"{name}.container", text=_server(deployment))]
    if deployment.model.lock is not None:
        files.append(DeployFile(name=f"{name}-pull.container", text=_puller(deployment)))
        files.append(DeployFile(name=LOCK_FILE, text=deployment.model.lock))
    volume = _unit([("Volume", [("VolumeName", f"{name}-models"), ("User", str(USER))])])
    return [*files, DeployFile(name=f"{name}.volume", text=volume)]


def secret_of(deployment: Deployment) -> str:
    """Return the name of podman's secret with the API key."""
    return f"{deployment.name}-key"


def _server(deployment: Deployment) -> str:
    pull = f"{deployment.name}-pull.service"
    order = [("Requires", pull), ("After", pull)] if deployment.pulls else []
    container = [
        *_common(deployment, deployment.environment),
        ("Exec", _words(deployment.command)),
        ("Secret", f"{secret_of(deployment)},type=env,target=LOCALRUN_API_KEY"),
        ("PublishPort", f"127.0.0.1:{PORT}:{PORT}"),
        ("HealthCmd", f"{PROGRAM} health"),
        ("HealthInterval", "10s"),
        ("HealthTimeout", "5s"),
        ("HealthRetries", "6"),
        ("HealthStartPeriod", "30m"),
        ("StopTimeout", str(GRACE_S)),
        ("PodmanArgs", f"--memory={deployment.memory_bytes // MIB}m"),
        *_gpus(deployment),
    ]
    if deployment.model.image is not None:
        mount = f"type=image,source={deployment.model.image},destination={MODEL_IMAGE}"
        container.append(("Mount", mount))
    return _unit(
        [
            ("Unit", [("Description", f"localrun with {deployment.model.name}"), *order]),
            ("Container", container),
            ("Service", [("Restart", "on-failure"), ("TimeoutStartSec", "1800")]),
            ("Install", [("WantedBy", "default.target")]),
        ]
    )


def _puller(deployment: Deployment) -> str:
    container = [
        *_common(deployment, deployment.pull_environment),
        ("Volume", f"./{LOCK_FILE}:{LOCK_FOLDER}/{LOCK_FILE}:ro"),
        ("Exec", _words(deployment.pull_command)),
    ]
    service = [
        ("Type", "oneshot"),
        ("RemainAfterExit", "yes"),
        ("TimeoutStartSec", "infinity"),
    ]
    return _unit(
        [
            ("Unit", [("Description", f"download of {deployment.model.name}")]),
            ("Container", container),
            ("Service", service),
        ]
    )


def _common(deployment: Deployment, environment: dict[str, str]) -> list[tuple[str, str]]:
    return [
        ("Image", deployment.image),
        ("User", str(USER)),
        ("Group", str(USER)),
        ("ReadOnly", "true"),
        ("DropCapability", "all"),
        ("NoNewPrivileges", "true"),
        ("Volume", f"{deployment.name}.volume:{MODELS}"),
        *(("Environment", f"{name}={value}") for name, value in environment.items()),
    ]


def _gpus(deployment: Deployment) -> list[tuple[str, str]]:
    """Return the devices by their names of the Container Device Interface, from the first."""
    return [("AddDevice", f"{GPU_DEVICE}={number}") for number in range(deployment.num_gpus)]


def _words(arguments: Iterable[str]) -> str:
    """Return arguments as systemd splits them; ``%`` and ``$`` would be replaced there."""
    return " ".join(_word(argument) for argument in arguments)


def _word(argument: str) -> str:
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("%", "%%").replace("$", "$$")
    is_plain = escaped == argument and argument and not any(map(str.isspace, argument))
    return argument if is_plain and "'" not in argument else f'"{escaped}"'


def _unit(sections: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    blocks = (
        "\n".join([f"[{title}]", *(f"{key}={value}" for key, value in rows)])
        for title, rows in sections
        if rows
    )
    return "\n\n".join(blocks) + "\n"
