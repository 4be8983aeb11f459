"""Trial of an installed engine: the embedded model computes in a process of its own.

A wheel for a newer processor ends in SIGILL, one for another C library or without its CUDA
libraries does not even load. Run as a program, this module is that process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "localrun" / "data" / "guide.gguf"
TRIAL_S = 120.0
NUM_TOKENS = 64  # enough for the kernels of prompts, of which llama.cpp has others
OK = "computed"


def run(python: Path) -> None:
    """Try the engine that is installed for a Python.

    Raises:
        WheelError: it does not compute here.
    """
    import environment

    from engines.fetching import WheelError

    environ = environment.pip_environment() | {"PYTHONPATH": str(ROOT), "GGML_NO_BACKTRACE": "1"}
    command = [python, __file__, environment.pinned_version()]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=TRIAL_S, env=environ
        )
    except subprocess.TimeoutExpired:
        raise WheelError(f"it computed nothing in {TRIAL_S:g} s") from None
    if done.returncode != 0 or not done.stdout.endswith(f"{OK}\n"):
        raise WheelError(f"it does not compute here: {_ending(done)}")


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"killed by {name}" + (", it is for another processor" if name == "SIGILL" else "")
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def main(pinned: str) -> None:
    """Load the embedded model and compute a prompt and a token."""
    from localrun.engine.llama.cuda_libraries import prepare

    prepare()
    import llama_cpp

    from localrun.engine.llama.library import start

    if llama_cpp.__version__ != pinned:
        sys.exit(f"it contains llama-cpp-python {llama_cpp.__version__}, not {pinned}")
    start()
    model = llama_cpp.llama_model_load_from_file(
        os.fsencode(MODEL), llama_cpp.llama_model_default_params()
    )
    if not model:
        sys.exit("it loads no model")
    params = llama_cpp.llama_context_default_params()
    context = llama_cpp.llama_init_from_model(model, params)
    for count in (NUM_TOKENS, 1):
        tokens: Any = (llama_cpp.llama_token * count)(*range(10, 10 + count))
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, count)) != 0:
            sys.exit("it computes no token")
    llama_cpp.llama_synchronize(context)
    print(OK)


if __name__ == "__main__":
    main(sys.argv[1])
