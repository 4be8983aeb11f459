"""The program that Vulkan tests run: load guide as asked, and tell what became of it.

It is a process of its own, since llama.cpp with Vulkan is another package than the one
that the tests have imported. One JSON object comes in as argument, one goes out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from localrun.engine.constraints.compiler import GrammarCompiler
from localrun.engine.context import LlamaContext
from localrun.engine.llama.library import start
from localrun.engine.llama.memory.memory_log import MemoryTaken
from localrun.engine.llama.model import load_model
from localrun.engine.llama.placement import with_devices
from localrun.engine.params import LoadOptions, SamplingParams
from localrun.engine.sequence import Sequence
from tests.engine.answering import LIMITS, Answerer

PROMPT = "<|im_start|>user\nWhat is a model?<|im_end|>\n<|im_start|>assistant\n"
NUM_TOKENS = 12


def main() -> None:
    order = json.loads(sys.argv[1])
    taken = MemoryTaken()
    native_log = start(taken.read_line)
    options = with_devices(LoadOptions(), order["device"])
    model = load_model(
        [Path(order["model"])],
        native_log=native_log,
        num_gpu_layers=order["layers"],
        options=options,
        on_progress=lambda _: None,
    )
    context = LlamaContext(model, LIMITS, num_threads=1)
    tokens = model.tokenize(PROMPT)
    sequence = Sequence(
        request_id=1,
        tokens=list(tokens),
        max_tokens=len(tokens) + NUM_TOKENS,
        sampling=SamplingParams(temperature=0),
    )
    text = Answerer(model, context, GrammarCompiler(model)).run(sequence)
    names = ["Vulkan0", "Vulkan1"]
    sys.stdout.write(
        json.dumps(
            {
                "text": text,
                "devices": [device.name for device in model.devices],
                "bytes": [taken.by_device().get(name, 0) for name in names],
            }
        )
    )


main()
