"""Write adapters.json: what llama.cpp's own converter of adapters makes of the tiny ones.

    python -m tests.convert.oracle.generate_adapters LLAMA_CPP_SOURCES

Families that it cannot convert are left out: it wants the MTP layers of Qwen3-Next and Qwen 3.5 and
a real tokenizer of Mistral 3, and misreads the layers of Granite 4 in the configuration that
transformers 5 gives it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.convert.oracle.adapters import random_pairs, write_pairs
from tests.convert.oracle.checkpoints import weights, write_checkpoint
from tests.convert.oracle.generate import GOLDEN, described

MISREAD = ("granite4", "granite4hybrid", "granite4micro")
SCRIPT = "convert_lora_to_gguf.py"


def main() -> None:
    sources = Path(sys.argv[1])
    sys.path[:0] = [str(sources / "gguf-py")]
    found: dict[str, Any] = {}
    for path in sorted(GOLDEN.glob("*.json")):
        known = json.loads(path.read_text())
        is_plain = "logits" in known and "quantization_config" not in known["config"]
        if is_plain and path.stem not in MISREAD:
            tensors = _converted(sources, known)
            sys.stdout.write(f"{path.stem} {'-' if tensors is None else len(tensors)}\n")
            found |= {} if tensors is None else {path.stem: tensors}
    target = GOLDEN.parent / "adapters.json"
    target.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")


def _converted(sources: Path, known: dict[str, Any]) -> dict[str, list[Any]] | None:
    plain = weights(known["shapes"])
    with tempfile.TemporaryDirectory() as scratch:
        base = write_checkpoint(Path(scratch, "base"), known["config"], plain)
        folder = write_pairs(
            Path(scratch, "peft"), random_pairs(plain, known["config"]["model_type"])
        )
        target = Path(scratch, "adapter.gguf")
        command = [sys.executable, SCRIPT, folder, "--base", base, "--outfile", target]
        done = subprocess.run(
            [*map(str, command), "--outtype", "f32"], cwd=sources, capture_output=True, check=False
        )
        return described(target)[1] if done.returncode == 0 else None


if __name__ == "__main__":
    main()
