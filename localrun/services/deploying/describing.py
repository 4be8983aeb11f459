"""Deployment of a model of this machine: its plan, its lock, and what the user states."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.deploy.description import (
    DeployedModel,
    Deployment,
    check_deployment,
    object_name,
)
from localrun.errors import UsageError
from localrun.hardware.device import Device, DeviceKind
from localrun.services.machine.memory_plan import MemoryQuery, plan_memory
from localrun.services.pulling.lock import make_lock
from localrun.services.remotes.stored import refuse_remote, short_name
from localrun.store.store import embedded_models

if TYPE_CHECKING:
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace

LARGE = 1 << 40  # bytes: the plan is of the model, not of this machine
LONGEST_KEY = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployOptions:
    """What the user states; None is chosen."""

    image: str
    name: str | None = None
    num_replicas: int = 1
    max_replicas: int | None = None
    num_gpus: int = 0
    num_ctx: int | None = None
    num_parallel: int | None = None
    model_image: str | None = None


def describe_deployment(workspace: Workspace, name: str, options: DeployOptions) -> Deployment:
    """Return the deployment of a model.

    The plan is made for a processor with any amount of memory, so that it does not depend on this
    machine.

    Raises:
        ModelNotFoundError: the model is not here.
        UsageError: it has no weights, it cannot be pulled elsewhere, or an option is wrong.
    """
    model = workspace.models.find_model(name)
    refuse_remote(model, "its engine is deployed, and nothing")
    query = MemoryQuery(num_ctx=options.num_ctx, num_parallel=options.num_parallel)
    plan = plan_memory(workspace, model.name, query, lambda: [_any_processor()]).plan
    deployment = Deployment(
        name=options.name or object_name(model.name),
        model=DeployedModel(
            name=short_name(model.name),
            files_bytes=model.size_bytes,
            needed_bytes=plan.total_bytes,
            num_ctx=plan.num_ctx,
            num_parallel=plan.setup.num_slots,
            lock=None if options.model_image else _lock(workspace, model),
            image=options.model_image,
        ),
        image=options.image,
        num_replicas=options.num_replicas,
        max_replicas=options.max_replicas,
        num_gpus=options.num_gpus,
    )
    check_deployment(deployment)
    return deployment


def read_api_key(file: str) -> str:
    """Return the key in the first line of a file.

    Raises:
        UsageError: the file cannot be read, or holds no key; the error does not repeat it.
    """
    path = Path(file).expanduser()
    try:
        with path.open("rb") as opened:
            content = opened.read(LONGEST_KEY + 1)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--key-file {file[:200]} cannot be read", hint=f"openssl rand -hex 32 > {file[:200]}"
        ) from error
    key = content.split(b"\n", 1)[0].decode("latin-1").strip()
    is_key = key.isascii() and key.isprintable() and not any(map(str.isspace, key))
    if not key or not is_key or len(content) > LONGEST_KEY:
        raise UsageError(f"--key-file {file[:200]} has no key in its first line")
    return key


def _lock(workspace: Workspace, model: StoredModel) -> str | None:
    """Return the lock file of a model, None for one that comes with localrun.

    Raises:
        UsageError: it was made here, so that no other machine can pull it.
    """
    if model.name in embedded_models() and model.origin is None:
        return None
    try:
        lock = make_lock(workspace, [model.name])
    except UsageError as error:
        short = short_name(model.name)
        raise UsageError(
            f"{model.name} was made on this machine, so that no other one can pull it",
            hint=f"localrun push {short} HOST/{short} --as-image   for --model-image HOST/{short}",
        ) from error
    return json.dumps(lock, indent=2, sort_keys=True) + "\n"


def _any_processor() -> Device:
    return Device(
        backend="CPU",
        index=0,
        name="CPU",
        description="CPU",
        kind=DeviceKind.CPU,
        total_bytes=LARGE,
        free_bytes=LARGE,
    )
