"""Ask Go itself what a template renders to."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.chat.gotemplate.conversations import CONVERSATIONS

HERE = Path(__file__).parent
FAMILIES = HERE.parent / "families"
GOLDEN = HERE.parent / "golden"
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


def golden_cases() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the oracle's case of each conversation, for each family of templates."""
    return {
        path.stem: {
            name: conversation.for_oracle(path.read_text(encoding="utf-8"))
            for name, conversation in CONVERSATIONS.items()
            if not conversation.suffix or ".Suffix" in path.read_text(encoding="utf-8")
        }
        for path in sorted(FAMILIES.glob("*.gotmpl"))
    }


def main() -> None:
    """Write the golden files anew: ``python -m tests.chat.gotemplate.oracle.run``."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        for family, cases in golden_cases().items():
            results = dict(zip(cases, rendered(program, list(cases.values())), strict=True))
            text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
            (GOLDEN / f"{family}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
