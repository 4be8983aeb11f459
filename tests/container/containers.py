"""Containers of an image, run by crun or runc without a daemon: unpacked by a few lines of our own.

The container has its own network with nothing but a loopback device, so that its port is nobody
else's; commands run inside it, as `docker exec` does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.unix_calls import user_id
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# by preference: crun refuses machines with both versions of cgroups
RUNTIMES = {"runc": (), "crun": ("--cgroup-manager=disabled",)}
NAMESPACES = ("pid", "ipc", "uts", "mount", "network")


def runtime() -> str | None:
    """Return the program that runs containers, None if there is none or it has no rights."""
    if os.name != "posix" or user_id() != 0:
        return None
    return next(filter(None, map(shutil.which, RUNTIMES)), None)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An image as a runtime wants it: a folder of its files, and its config."""

    root: Path
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    runtime: str
    name: str
    process: subprocess.Popen[str]

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `docker exec --env` does."""
        variables = [word for name in environ for word in ("--env", f"{name}={environ[name]}")]
        return subprocess.run(
            [self.runtime, "exec", *variables, self.name, *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )

    def stop(self, signal: str) -> int:
        """Send the signal that the image names to the first process; return its exit status."""
        subprocess.run([self.runtime, "kill", self.name, signal], check=True, timeout=HANG_S)
        return self.process.wait(HANG_S)


def unpack(layout: Path, folder: Path) -> Unpacked:
    """Unpack an image layout into a folder."""
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(_blob(layout, index["manifests"][0]["digest"]).read_text())
    root = folder / "rootfs"
    root.mkdir(parents=True)
    for layer in manifest["layers"]:
        with tarfile.open(_blob(layout, layer["digest"])) as tar:
            tar.extractall(root, numeric_owner=True, filter="fully_trusted")  # noqa: S202 - written by the test
    return Unpacked(root, json.loads(_blob(layout, manifest["config"]["digest"]).read_text()))


@contextmanager
def running(
    image: Unpacked,
    volume: Path,
    environ: Mapping[str, str],
    *,
    read_only: bool = False,
    mounts: tuple[Path, ...] = (),
) -> Iterator[Container]:
    """Run a container of the image with the volume in its place, until the end of the block."""
    program = runtime()
    assert program is not None
    bundle = image.root.parent
    spec = _spec(image, volume, environ, read_only=read_only, mounts=mounts)
    (bundle / "config.json").write_text(json.dumps(spec))
    name = f"localrun-test-{uuid.uuid4().hex[:12]}"
    with (bundle / "log").open("w") as log:
        process = subprocess.Popen(
            [program, *RUNTIMES[Path(program).name], "run", "--bundle", bundle, name],
            text=True,
            stdout=log,
            stderr=log,
        )
        try:
            yield Container(program, name, process)
        finally:
            subprocess.run([program, "delete", "--force", name], check=False, capture_output=True)
            process.wait(HANG_S)


def _spec(
    image: Unpacked,
    volume: Path,
    environ: Mapping[str, str],
    *,
    read_only: bool,
    mounts: tuple[Path, ...],
) -> dict[str, Any]:
    """Return the runtime's config, as docker derives it from the config of an image."""
    config = image.config["config"]
    user, _, group = config["User"].partition(":")
    (place,) = config["Volumes"]
    bound = [(place, volume, "rw"), *((str(path), path, "ro") for path in mounts)]
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": int(user), "gid": int(group)},
            "args": [*config["Entrypoint"], *config["Cmd"]],
            "env": [*config["Env"], *(f"{name}={value}" for name, value in environ.items())],
            "cwd": config["WorkingDir"],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": read_only},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            _tmpfs("/dev", "nosuid", "mode=755"),
            _tmpfs("/dev/shm", "nosuid", "nodev", "mode=1777"),  # noqa: S108 - in a container
            *(
                {"destination": at, "type": "bind", "source": str(path), "options": ["bind", mode]}
                for at, path, mode in bound
            ),
        ],
        "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
    }


def _tmpfs(at: str, *options: str) -> dict[str, Any]:
    return {"destination": at, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
