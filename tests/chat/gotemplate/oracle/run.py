"""Ask Go itself what a template renders to."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GO = shutil.which("go")


def build(folder: Path) -> Path:
    """Compile the oracle into a folder."""
    program = folder / "oracle"
    subprocess.run([GO or "go", "build", "-o", program, HERE / "oracle.go"], check=True)
    return program


def rendered(program: Path, cases: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the text or the error of each case."""
    done = subprocess.run(
        [program], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    results: list[dict[str, str]] = json.loads(done.stdout)
    return results
