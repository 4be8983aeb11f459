"""Simon Willison's ``llm``, the command; its argument is the API that it is to speak."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import acting

TOOL = f'def get_weather(city: str) -> str:\n    return "{acting.WEATHER}"\n'
CALLED = re.compile(r"Tool call: (\w+)\((\{.*\})\)")
COMMAND = (sys.executable, "-m", "llm")
MODELS = "".join(
    f"- model_id: {name}\n  model_name: {name}\n  api_base: {acting.URL}/v1\n"
    "  supports_tools: true\n  supports_schema: true\n"
    for name in (acting.MODEL, acting.ENDLESS, acting.UNKNOWN)
)


def act(folder: Path, speaks: str) -> None:
    """Do all acts, with the command's settings in a folder."""
    environ = os.environ | {"LLM_USER_PATH": str(folder), "OLLAMA_HOST": acting.URL}
    environ["OPENAI_API_KEY"] = "local"
    prefix = "ollama/" if speaks == "ollama" else ""
    if speaks == "openai":
        (folder / "extra-openai-models.yaml").write_text(MODELS)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *words], check=False, capture_output=True, text=True, env=environ
        )
        assert done.returncode == 0, done.stderr
        return done

    def ask(question: str, *words: str) -> subprocess.CompletedProcess[str]:
        options = ("-m", f"{prefix}{acting.MODEL}", "-o", "temperature", "0")
        return run("prompt", question, *options, *words)

    def chat(*words: str) -> str:
        return ask(acting.QUESTION, *words).stdout.strip()

    def tools(*words: str) -> object:
        done = ask(acting.WEATHER_QUESTION, "--functions", TOOL, "--tools-debug", *words)
        calls = [[name, ast.literal_eval(given)] for name, given in CALLED.findall(done.stderr)]
        return {"calls": calls, "text": done.stdout}

    def embed(text: str) -> object:
        return json.loads(run("embed", "-m", f"{prefix}{acting.EMBEDDER}", "-c", text).stdout)

    def leave() -> None:
        words = ("prompt", "-m", f"{prefix}{acting.ENDLESS}", "Tell me a story")
        with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, env=environ) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            process.send_signal(signal.SIGINT)

    acting.act(
        chat=lambda: chat("--no-stream"),
        stream=lambda: list(chat()),
        tools=lambda: tools("--no-stream"),
        stream_tools=tools,
        schema=lambda: json.loads(chat("--schema", json.dumps(acting.SUM))),
        cancel=lambda: acting.cancelled(leave),
        **({"embeddings": lambda: list(map(embed, acting.TEXTS))} if prefix else {}),
    )


with tempfile.TemporaryDirectory() as work:
    act(Path(work), sys.argv[1])
