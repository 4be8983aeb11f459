"""State of a backend after a probe: plain values for `doctor`, `backend list` and the choice."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE, INSTALLED = "engine", "installed"
RETRY = "localrun backend why --retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """A backend for GPUs that this machine has a library of."""

    backend: str  # "vulkan", "cuda", ...; the names of packages, lower case
    source: str  # "engine": llama.cpp's own folder, or linked with it; "installed"
    library: str  # path; "" if it is linked with llama.cpp
    is_loaded: bool
    reason: str = ""  # of not being loaded, or of having no device
    fix: str = ""  # command to type
