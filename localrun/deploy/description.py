"""Description of a deployment: what all targets print, from one set of values.

Knows no target and no store. Invariant: whatever a target prints comes from here, so that the files
of all targets agree.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from localrun.errors import UsageError

PORT = 11435
USER = 10001  # of the image that scripts/build-image writes
PROGRAM = "/usr/bin/localrun"  # there, too
MODEL_IMAGE = "/model-image"  # where an image with the model is mounted
MODELS, CACHE, LOCK_FOLDER = "/models", "/models/.cache", "/lock"
LOCK_FILE = "models.lock"
HEALTH, READY, METRICS = "/healthz", "/readyz", "/metrics"
WAITING_METRIC = "localrun_waiting_requests"
DRAIN_S = 25
GRACE_S = DRAIN_S + 20  # until the last error is sent and the runners have ended
RUNNER_BYTES = 512 << 20  # of the processes, beside what the plan counts
CACHE_BYTES = 2 << 30
MIB = 1 << 20
MAX_REPLICAS = 1000
MAX_GPUS = 64
LONGEST_NAME = 40  # of a DNS label, with room for the suffixes of its parts
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,400}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedModel:
    """The model, and how its files come to where it runs."""

    name: str  # as `localrun run` takes it
    files_bytes: int  # on disk
    needed_bytes: int  # memory of the plan: weights, KV cache, buffers
    num_ctx: int
    num_parallel: int
    lock: str | None  # the lock file of a pulled model; None if no download is needed
    image: str | None = None  # that `push --as-image` made, mounted as a read-only store


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One model, some replicas, and what they may use."""

    name: str  # of all objects: a DNS label
    model: DeployedModel
    image: str
    num_replicas: int = 1
    max_replicas: int | None = None  # more than `num_replicas`: scaled by queued requests
    num_gpus: int = 0  # of each replica

    @property
    def memory_bytes(self) -> int:
        """Return the memory limit of a replica, in whole MiB.

        On GPUs the weights still pass through the host's memory while they are read.
        """
        size = self.model.needed_bytes + RUNNER_BYTES
        return math.ceil(size / MIB) * MIB

    @property
    def disk_bytes(self) -> int:
        """Return the size of a volume for the model's files, with room for a download."""
        files_bytes = self.model.files_bytes if self.pulls else 0
        return math.ceil(files_bytes * 1.1 / MIB) * MIB + CACHE_BYTES

    @property
    def pulls(self) -> bool:
        """Return whether the files are downloaded before the server starts."""
        return self.model.lock is not None

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of the server, but its key."""
        extra = {"LOCALRUN_EXTRA_MODELS": MODEL_IMAGE} if self.model.image else {}
        return {
            **extra,
            "HOME": MODELS,
            "LOCALRUN_CACHE": CACHE,
            "LOCALRUN_CONTEXT_LENGTH": str(self.model.num_ctx),
            "LOCALRUN_DRAIN": f"{DRAIN_S}s",
            "LOCALRUN_HOST": f"0.0.0.0:{PORT}",
            "LOCALRUN_KEEP_ALIVE": "-1",
            "LOCALRUN_MODELS": MODELS,
            "LOCALRUN_NUM_PARALLEL": str(self.model.num_parallel),
            "LOCALRUN_OFFLINE": "1",
        }

    @property
    def command(self) -> list[str]:
        """Return the arguments of the server."""
        return ["serve", "--load", self.model.name]

    @property
    def pull_command(self) -> list[str]:
        """Return the arguments that download the model's files."""
        return ["pull", "--locked", f"{LOCK_FOLDER}/{LOCK_FILE}"]

    @property
    def pull_environment(self) -> dict[str, str]:
        """Return the variables of the download."""
        return {"HOME": MODELS, "LOCALRUN_CACHE": CACHE, "LOCALRUN_MODELS": MODELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployFile:
    """One file to print; ``about`` is a line for people."""

    name: str
    text: str
    is_private: bool = False  # has the key


def object_name(text: str) -> str:
    """Return a DNS label for a model's name: ``qwen3:0.6b`` is ``qwen3-0-6b``."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower().removesuffix(":latest")).strip("-")
    return label[:LONGEST_NAME].strip("-") or "model"


def check_deployment(deployment: Deployment) -> None:
    """Check the values that a user states.

    Raises:
        UsageError: one is out of bounds; the error names its option.
    """
    if not LABEL.fullmatch(deployment.name) or len(deployment.name) > LONGEST_NAME:
        raise UsageError(
            f"--name {deployment.name[:100]} is no DNS label of at most {LONGEST_NAME} characters",
            hint=f"--name {object_name(deployment.name)}",
        )
    images = (("--image", deployment.image), ("--model-image", deployment.model.image))
    for option, image in images:
        if image is not None and not IMAGE.fullmatch(image):
            raise UsageError(f"{option} {image[:100]!r} is no reference of an image")
    if not 1 <= deployment.num_replicas <= MAX_REPLICAS:
        raise UsageError(f"--replicas must be from 1 to {MAX_REPLICAS}")
    most = deployment.max_replicas
    if most is not None and not deployment.num_replicas < most <= MAX_REPLICAS:
        raise UsageError(f"--max-replicas must be more than --replicas and at most {MAX_REPLICAS}")
    if not 0 <= deployment.num_gpus <= MAX_GPUS:
        raise UsageError(f"--gpu must be from 0 to {MAX_GPUS}")
