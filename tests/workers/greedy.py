"""Greedy tokens of a model whose layers are divided over workers, without repacked weights.

    python -m tests.workers.greedy MODEL NUM_TOKENS [COMMAND...]

Each command is complete, and starts one worker. Prints the tokens. A program of its own, because
llama.cpp keeps its connections to workers as long as the process lives.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import llama_cpp

from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.llama.placement import TensorSplit
from localrun.engine.params import LoadOptions
from localrun.workers.command import parse_commands
from localrun.workers.joining import JoinedWorkers
from localrun.workers.process import WorkerProcess

PROMPT = "How do I download a model? Tell me all about it."
NUM_LAYERS_HERE = 1
_default_params = llama_cpp.llama_model_default_params


def plain_params() -> llama_cpp.llama_model_params:
    params = _default_params()
    params.use_extra_bufts = False
    return params


def main(path: Path, num_tokens: int, commands: list[str]) -> None:
    llama_cpp.llama_model_default_params = plain_params
    native_log = start(backends=frozenset())
    processes = [WorkerProcess(command) for command in parse_commands(f"{c} --" for c in commands)]
    for process in processes:
        process.read_hello()
        process.start()
    names = [process.name for process in processes]
    workers = JoinedWorkers(names, [process.socket for process in processes], lost)
    natives = workers.native_names([device.name for device in workers.devices])
    count = len(workers.devices)
    model = load_model(
        [path],
        native_log=native_log,
        num_gpu_layers=-1 if count else 0,
        options=LoadOptions(devices=natives),
        split=TensorSplit((1.0,) * count, keeps_output=True),
        on_progress=lambda _: None,
    )
    print(greedy(model, num_tokens))  # noqa: T201 - the result
    workers.close()
    sys.stdout.flush()
    os._exit(0)


def lost(name: str, reason: str) -> None:
    sys.stderr.write(f"{name}: {reason}\n")
    sys.stderr.flush()
    os._exit(1)


def greedy(model: Model, num_tokens: int) -> list[int]:
    """Return the likeliest tokens, one after the other."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 512, 1, 1
    context = llama_cpp.llama_init_from_model(model.handle, params)
    tokens = list(model.tokenize(PROMPT))
    batch, result = tokens, list[int]()
    for _ in range(num_tokens):
        array = (ctypes.c_int32 * len(batch))(*batch)
        assert (
            llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(batch))) == 0
        )
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        best = max(range(model.num_vocab), key=logits.__getitem__)
        batch = [best]
        result.append(best)
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
