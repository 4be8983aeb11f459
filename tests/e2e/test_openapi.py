"""Schemathesis on the real server: no 5xx, and no answer that the document does not tell.

``scripts/test --schemathesis`` provides it and sets LOCALRUN_TEST_SCHEMATHESIS to its
program; LOCALRUN_TEST_SCHEMATHESIS_EXAMPLES is how many cases each operation gets.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Home

PROGRAM = os.environ.get("LOCALRUN_TEST_SCHEMATHESIS")
NUM_EXAMPLES = os.environ.get("LOCALRUN_TEST_SCHEMATHESIS_EXAMPLES", "4")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
# they reach into the network, start a process each, or take away what the others need
LEFT_OUT = (
    *("/api/pull", "/api/push", "/api/create", "/api/delete", "/api/localrun/shutdown"),
    *(f"/api/localrun/{name}" for name in ("plan", "search", "lint", "doctor")),
)
FEW = {"type": "integer", "minimum": 1, "maximum": 3}
NARROWER: dict[str, Any] = {  # so that most cases get as far as the model, and soon back
    "model": {"enum": ["guide", "guide:latest"]},
    "n": FEW,
    "max_tokens": FEW,
    "num_predict": FEW,
    "num_ctx": {"const": 512},
    "keep_alive": {"const": "5m"},
}
RESPONSES = ("KeptChat",)  # they have members that may be null, as requests
NEEDED = ("max_tokens", "num_predict", "options")


def narrowed(part: Any) -> Any:
    """Return a document whose requests ask for little of the model that is there."""
    if isinstance(part, list):
        return [narrowed(one) for one in part]
    if not isinstance(part, dict):
        return part
    found = {key: narrowed(value) for key, value in part.items()}
    known = found.get("properties", {})
    if isinstance(known, dict) and "anyOf" in str(known):  # a request has members that may be null
        known |= {name: schema for name, schema in NARROWER.items() if name in known}
        needed = {name for name in NEEDED if name in known}
        found["required"] = sorted({*found.get("required", ()), *needed})
    return found


@pytest.mark.skipif(not PROGRAM, reason="scripts/test could not install schemathesis")
@pytest.mark.timeout(900 + 20 * int(NUM_EXAMPLES))
def test_no_request_breaks_the_server_or_the_document(server: Home, tmp_path: Path) -> None:
    whole = httpx.get(f"{server.url}/openapi.json").json()
    document = narrowed(whole)
    for name in RESPONSES:
        document["components"]["schemas"][name] = whole["components"]["schemas"][name]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["responses"] = whole["paths"][path][method]["responses"]
    for path in LEFT_OUT:
        del document["paths"][path]
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    options = ["--url", server.url, "--checks", CHECKS, "--phases", "coverage,fuzzing"]
    bounds = ["--max-examples", NUM_EXAMPLES, "--request-timeout", f"{HANG_S:.0f}", "--seed", "1"]
    quiet = ["--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure"]

    done = subprocess.run(
        [str(PROGRAM), "run", str(file), *options, *bounds, *quiet],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stdout[-5000:]
    assert "No issues found" in done.stdout or "passed" in done.stdout
    assert httpx.get(f"{server.url}/readyz").status_code == 200
