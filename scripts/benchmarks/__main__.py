"""Command line of ``scripts/bench NAME``: each benchmark is a module with ``main(arguments)``."""

from __future__ import annotations

import importlib
import sys

NAMES = {
    "startup": "start-up of `localrun --version` and `--help` against a bare Typer program",
    "bounds": "times that tests do not assert: to read a large header, to cancel a stream",
    "answer": 'cold and warm time of `localrun run guide "hi"`',
    "create": "`localrun create` of a GGUF file beside cp and sha256sum of the same file",
    "pull": "pull, resume and import on loopback beside curl, sha256sum and hf download",
    "batch": "`localrun batch` beside threads of the openai package, here and at llama-server",
    "clients": "200 streaming clients at once: errors, memory, event loop, work for a token",
    "load": "time to the first token of a server that starts, cold and warm, beside llama-server",
    "serve": "localrun beside llama-server: streams, shared prompts, chats, gaps, memory",
    "long": "first token of a chat of 30,000 tokens, and of 20,000 with a changed middle",
    "media": "first token, sharing, turns and gaps with images, beside llama-server",
    "prefill": "tokens a second of prompts, beside llama-bench",
    "speculate": "speculative decoding with drafts that are accepted at a set rate",
    "layouts": "processor time of a step with unified KV cache cells and with streams",
    "pacing": "bursts and readers under the engine's pacing, simulated from measured costs",
    "quick": "commands, start, lists, first token, memory and wake-ups, beside Ollama",
}
MODULES = {
    "load": "load_times",
    "media": "media.table",
    "pacing": "pacing.table",
    "quick": "quick.table",
}  # others have the name of their benchmark


def main(arguments: list[str]) -> int:
    """Run the benchmark of this name."""
    if not arguments or arguments[0] not in NAMES:
        for name, about in NAMES.items():
            print(f"  scripts/bench {name:10} {about}")
        return 0 if arguments[:1] in ([], ["--help"]) else 2
    module = importlib.import_module(f"benchmarks.{MODULES.get(arguments[0], arguments[0])}")
    result: int = module.main(arguments[1:])
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
