"""Make small models, workspaces that ask a fake hub, and a report that remembers."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from localrun.names.parse import parse_name
from localrun.services.pulling.pull import Pulled, pull_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from tests.gguf import builder

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.store import Entry

REPO = "owner/some-GGUF"
NAME = f"hf.co/{REPO}:Q4_K_M"
TEMPLATE = b"{{ messages[0].content }}"  # below what the hub keeps in LFS
LICENCE = b"Do as you like."
DEAD = "http://127.0.0.1:9"


def gguf(seed: int = 0, size: int = 20_000, architecture: str = "llama") -> bytes:
    """Return a file with a right header and bytes of its own."""
    head = builder.header([builder.pair("general.architecture", builder.STRING, architecture)])
    return head + random.Random(seed).randbytes(size - len(head))  # noqa: S311 - not a secret


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


WEIGHTS = gguf()
FILES = {
    "model-Q4_K_M.gguf": WEIGHTS,
    "model-Q8_0.gguf": gguf(8, 30_000),
    "mmproj-F16.gguf": gguf(9, 5_000, "clip"),
    "chat_template.jinja": TEMPLATE,
    "LICENSE": LICENCE,
    "README.md": b"hello",
}


@dataclass(slots=True)
class Told:
    """What a use case told."""

    notes: list[str] = field(default_factory=list)
    begun: list[tuple[int | None, int]] = field(default_factory=list)
    ended: dict[str, tuple[int, int | None]] = field(default_factory=dict)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        self.begun.append((total_bytes, num_files))

    def advance(self, name: str, done: int, total: int | None) -> None:
        self.ended[name] = (done, total)


def workspace_at(folder: Path, url: str, **settings: Any) -> Workspace:
    """Return a workspace whose hubs are both at a URL."""
    known = Settings(log_dir=folder / "log", models_dir=folder / "store")
    environ = {"HF_ENDPOINT": url, "MODELSCOPE_ENDPOINT": url}
    return Workspace(replace(known, **settings), environ, home=folder / "home")


def with_environ(workspace: Workspace, **changes: str) -> Workspace:
    """Return a fresh workspace of the same settings."""
    return Workspace(workspace.settings, {**workspace.environ, **changes}, home=workspace.home)


def pull(workspace: Workspace, name: str = NAME, told: Told | None = None) -> Pulled:
    return pull_model(workspace, parse_name(name), report=told)


def entry_of(workspace: Workspace, name: str = NAME) -> Entry:
    entry = workspace.store.find(parse_name(name))
    assert entry is not None
    return entry


def names_in(workspace: Workspace) -> list[str]:
    return [entry.ref.name for entry in workspace.store.entries()]


def blob_of(workspace: Workspace, content: bytes) -> Path:
    return workspace.store.layout.blob(digest(content))
