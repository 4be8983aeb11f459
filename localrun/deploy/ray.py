"""Ray Serve: an application, its configuration, and what to type.

    localrun_ray.py   the application: a data file of this package, printed as it is
    serve.yaml        number of replicas, GPUs and memory of each
    models.lock       of a pulled model
    README.md         the commands, and the warning about Ray's ports

Ray is no dependency: the application runs in Ray's Python, and starts the command ``localrun``.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from localrun.deploy.description import LOCK_FILE, DeployFile
from localrun.deploy.yaml import yaml_text
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.deploy.description import Deployment

APPLICATION = "localrun_ray"
SERVE_PORT = 8000
MAX_PER_MACHINE = 100  # of Ray
ABOUT = """\
# {name}: {model} on Ray Serve

Ray listens on all interfaces, and whoever reaches its ports may run code. Use a private network,
and Ray's tokens on every machine, before `ray start`:

    export RAY_AUTH_MODE=token
    ray get-auth-token --generate        # on the head; copy the file to the others

On every machine: `pip install "ray[serve]"`, the command `localrun`{models}, and the key that
clients send, in the environment of `ray start`:

    export LOCALRUN_API_KEY={key}

On the head, in this folder:

    ray start --head --node-ip-address PRIVATE_ADDRESS
    serve run --working-dir . serve.yaml

On the others:

    ray start --address PRIVATE_ADDRESS:6379

The endpoint is http://127.0.0.1:{port} of each machine. On one machine, Ray only costs: `localrun
serve` alone answers more. localrun was tested with Ray 2.60; GPUs behind Ray were never tried.
"""


def ray_files(deployment: Deployment, per_machine: int | None = None) -> list[DeployFile]:
    """Return the files; ``per_machine`` is the most replicas on one machine.

    Raises:
        UsageError: ``per_machine`` is out of bounds.
    """
    if per_machine is not None and not 1 <= per_machine <= MAX_PER_MACHINE:
        raise UsageError(f"--per-machine must be from 1 to {MAX_PER_MACHINE}")
    source = files("localrun") / "data" / "deploy" / f"{APPLICATION}.py.txt"
    lock = deployment.model.lock
    found = [
        DeployFile(name=f"{APPLICATION}.py", text=source.read_text(encoding="utf-8")),
        DeployFile(name="serve.yaml", text=yaml_text(_configuration(deployment, per_machine))),
        DeployFile(name="README.md", text=_about(deployment)),
    ]
    return found if lock is None else [*found, DeployFile(name=LOCK_FILE, text=lock)]


def _configuration(deployment: Deployment, per_machine: int | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "command": "localrun",
        "model": deployment.model.name,
        "num_replicas": deployment.num_replicas,
        "num_parallel": deployment.model.num_parallel,
        "memory_bytes": deployment.memory_bytes,
    }
    if deployment.max_replicas is not None:
        arguments["max_replicas"] = deployment.max_replicas
    if per_machine is not None:
        arguments["max_replicas_per_node"] = per_machine
    if deployment.num_gpus:
        arguments["num_gpus"] = deployment.num_gpus
    if deployment.pulls:
        arguments["lock"] = LOCK_FILE
    environment = {
        "LOCALRUN_CONTEXT_LENGTH": str(deployment.model.num_ctx),
        "LOCALRUN_NUM_PARALLEL": str(deployment.model.num_parallel),
    }
    application = {
        "name": deployment.name,
        "route_prefix": "/",
        "import_path": f"{APPLICATION}:build",
        "runtime_env": {"env_vars": environment},
        "args": arguments,
    }
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": SERVE_PORT},
        "applications": [application],
    }


def _about(deployment: Deployment) -> str:
    models = f" (`localrun pull --locked {LOCK_FILE}` runs by itself)" if deployment.pulls else ""
    return ABOUT.format(
        name=deployment.name,
        model=deployment.model.name,
        models=models,
        key="$(openssl rand -hex 32)",
        port=SERVE_PORT,
    )
