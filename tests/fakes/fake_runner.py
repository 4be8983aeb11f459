"""A runner without a model: speaks the real frames and does what the prompt says.

    say TEXT      answers TEXT, a word a step
    echo          answers with the request itself, as JSON
    hang          starts, says "...", and waits for its cancel
    flood         says a lot, and waits for its cancel
    stuck         starts, and says from now on that a step goes on and on
    deaf          starts, and reads nothing any more
    quiet         starts, and waits for its cancel without a word
    die           starts, says "half", and kills itself with SIGKILL
    complain      starts, writes to stderr and aborts, as llama.cpp does
    lose          starts, reports a lost worker, and exits
    garbage       starts, and sends what is no message
    fail          ends with an error before it starts

A model whose file is called ``broken.gguf`` does not load, nor does any with the draft model
``broken-draft.gguf``; one called
``dies.gguf`` kills the process, and ``loses.gguf`` loses a worker; ``full.gguf`` wants more
memory than there is, and ``tight.gguf`` does with more than 30 layers on the GPU;
``waits.gguf`` is a named pipe, and ready when somebody has opened it for writing.

No model is ready while the file is there that FAKE_RUNNER_HOLD names. FAKE_RUNNER_PARALLEL is
how many requests it says that it runs together.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

from localrun.engine.params import FinishReason
from localrun.runner.frames import LENGTH, Message, encode, read_messages
from localrun.runner.messages import (
    Cancel,
    Detokenize,
    Embed,
    Embeddings,
    Failed,
    Finished,
    Generate,
    JsonObject,
    Load,
    LoadFailed,
    LoadProgress,
    Ping,
    Pong,
    Ranks,
    Ready,
    Rerank,
    Score,
    Started,
    Stats,
    Step,
    Tokenize,
    Tokens,
    WorkerLost,
)
from tests.signals import SIGKILL

ASKED: set[str] = set()


def main(fd: int) -> None:
    sock = socket.socket(fileno=fd)
    for message in read_messages(sock):
        if isinstance(message, Load):
            load(sock, message)
        elif isinstance(message, Generate):
            generate(sock, message)
        elif isinstance(message, Cancel):
            send(sock, finished(message.request_id, FinishReason.CANCELLED, 1))
        elif isinstance(message, Tokenize | Detokenize):
            answer_tokens(sock, message)
        elif isinstance(message, Embed | Rerank):
            answer_numbers(sock, message)
        elif isinstance(message, Ping):
            send(sock, Pong(num_steps=1, cpu_s=0.0, is_working="stuck" in ASKED))


def load(sock: socket.socket, message: Load) -> None:
    name = Path(message.model_paths[0]).name
    if name == "broken.gguf":
        send(sock, LoadFailed(message="broken.gguf could not be loaded: not a model"))
        return
    if name == "full.gguf" or (name == "tight.gguf" and message.num_gpu_layers > 30):
        send(sock, LoadFailed(message="no memory for so much"))
        return
    if name == "dies.gguf":
        sys.stderr.write("ggml: assertion failed\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGABRT)
    send(sock, LoadProgress(fraction=0.5))
    if name == "loses.gguf":
        lose_worker(sock)
    if name == "waits.gguf":
        Path(message.model_paths[0]).read_text()
    held = os.environ.get("FAKE_RUNNER_HOLD")
    while held and Path(held).exists():
        time.sleep(0.01)  # noqa: TID251 - a program of its own, which a test holds
    if any(path.endswith("broken-draft.gguf") for path in message.draft_paths):
        send(sock, LoadFailed(message="the draft model could not be loaded"))
        return
    send(
        sock,
        Ready(
            num_ctx=message.num_ctx or 2048,
            num_parallel=int(os.environ.get("FAKE_RUNNER_PARALLEL", "16")),
            device="CPU",
            size_bytes=1000,
            size_gpu_bytes=0,
            load_s=0.1,
            num_threads=message.num_threads or 3,
        ),
    )
    send(
        sock,
        Stats(
            num_running=1, num_waiting=3, num_cells=2048, num_allocated_cells=1024, num_used_cells=5
        ),
    )


def generate(sock: socket.socket, request: Generate) -> None:
    generation = request.generation
    spec = generation.prompt
    prompt = spec.messages[-1]["content"] if spec.messages else spec.text
    prompt = "".join(map(chr, generation.prompt_tokens)) or prompt
    number = request.request_id
    ASKED.add(prompt)
    if prompt == "fail":
        send(sock, Failed(request_id=number, code="context_length_exceeded", message="too long"))
        return
    opened = "<think>\n" if spec.template_options.get("enable_thinking") else ""
    send(
        sock,
        Started(
            request_id=number,
            prompt_tokens=5,
            prompt_tail=opened,
            profile=hermes_profile() if spec.messages else None,
            prompt=prompt if generation.echo else None,
            dropped_messages=2 if request.overflow.drops else 0,
            dropped_tokens=30 if request.overflow.drops else 0,
        ),
    )
    if prompt in PARTING:
        PARTING[prompt](sock, number)
    elif prompt == "echo":
        say(sock, request, [json.dumps(flat(request))])
    else:
        say(sock, request, prompt.removeprefix("say ").split(" "))


@lru_cache
def hermes_profile() -> JsonObject:
    """Return the profile of the template of `FakeCatalogue`'s model."""
    from localrun.chat.profiles.families import HERMES, REASONING_TAGS  # slow to import
    from localrun.chat.profiles.profile import Profile
    from localrun.chat.profiles.wire import profile_to_json

    return profile_to_json(Profile(thinking=REASONING_TAGS[0], tool_call=HERMES))


def flat(request: Generate) -> dict[str, object]:
    """Return the fields of a request and of the values that it contains."""
    fields = asdict(request)
    generation = fields.pop("generation")
    spec = generation.pop("prompt")
    return {**fields, **generation, **spec}


def answer_tokens(sock: socket.socket, request: Tokenize | Detokenize) -> None:
    answer = tokens(request)
    if answer.text != "hang":  # which is answered by its cancel
        send(sock, answer)


def tokens(request: Tokenize | Detokenize) -> Tokens:
    """Take a letter for a token, and a tool for one."""
    if isinstance(request, Detokenize):
        text = "".join(map(chr, request.tokens))
    else:
        spec = request.prompt
        text = spec.messages[-1]["content"] if spec.messages else spec.text
        text += "T" * len(spec.tools)
    return Tokens(
        request_id=request.request_id,
        tokens=tuple(map(ord, text)),
        text=text,
        pieces=tuple(letter.encode() for letter in text),
        num_ctx=2048,
    )


def answer_numbers(sock: socket.socket, request: Embed | Rerank) -> None:
    """Embed by the number of letters or tokens, rank by that of letters; 3 of them is a 0."""
    texts = request.inputs if isinstance(request, Embed) else request.documents
    if "hang" in texts:
        return
    if "die" in texts:
        os.kill(os.getpid(), SIGKILL)
    number, counts = request.request_id, tuple(map(len, texts))
    if isinstance(request, Rerank):
        scores = tuple(float(count - 3) for count in counts)
        answer = Ranks(
            request_id=number, scores=scores, are_probabilities=False, token_counts=counts
        )
        send(sock, answer)
        return
    width = request.dimensions or 4
    if request.truncate:
        counts = tuple(min(count, 3) for count in counts)
    vectors = b"".join(struct.pack(f"<{width}f", count, *[0.5] * (width - 1)) for count in counts)
    send(
        sock,
        Embeddings(request_id=number, vectors=vectors, dimensions=width, token_counts=counts),
    )


def say(sock: socket.socket, request: Generate, words: list[str]) -> None:
    number = request.request_id
    for index, word in enumerate(words):
        text = word if index == 0 else f" {word}"
        send(sock, Step(deltas=((number, text),), scores=scored(request, text)))
    end = finished(number, FinishReason.STOP, len(words))
    end = replace(end, tokens=(1, 2, 3)) if request.generation.returns_tokens else end
    send(sock, replace(end, dropped_tokens=7) if request.overflow.shifts else end)


def scored(request: Generate, text: str) -> tuple[tuple[int, tuple[Score, ...]], ...]:
    """Take a word for a token, and its letters for the likeliest in its place."""
    num_top = request.generation.logprobs
    if num_top is None:
        return ()
    top = tuple((letter.encode(), -1.0) for letter in text[:num_top])
    return ((request.request_id, ((text.encode(), -0.5, top),)),)


def hang(sock: socket.socket, number: int) -> None:
    send(sock, Step(deltas=((number, "..."),)))


def flood(sock: socket.socket, number: int) -> None:
    for _ in range(300):
        send(sock, Step(deltas=((number, "flood " * 10_000),)))


def quiet(_sock: socket.socket, _number: int) -> None:
    return


def deaf(_sock: socket.socket, _number: int) -> None:
    threading.Event().wait()


def die(sock: socket.socket, number: int) -> None:
    send(sock, Step(deltas=((number, "half"),)))
    os.kill(os.getpid(), SIGKILL)


def complain(sock: socket.socket, number: int) -> None:
    send(sock, Step(deltas=((number, "half"),)))
    sys.stderr.write("ggml: assertion failed\n")
    sys.stderr.flush()
    os.abort()


def garbage(sock: socket.socket, number: int) -> None:
    send(sock, Step(deltas=((number, "half"),)))
    sock.sendall(LENGTH.pack(3) + b"???")


def lose(sock: socket.socket, _number: int) -> None:
    lose_worker(sock)


def lose_worker(sock: socket.socket) -> None:
    send(sock, WorkerLost(worker="ssh gpu1", reason="it ended"))
    os._exit(6)


def finished(request_id: int, reason: FinishReason, tokens: int) -> Finished:
    return Finished(
        request_id=request_id,
        reason=reason,
        prompt_tokens=5,
        cached_tokens=3,
        generated_tokens=tokens,
        queue_s=0.0,
        prompt_s=0.01,
        generation_s=0.02,
    )


def send(sock: socket.socket, message: Message) -> None:
    sock.sendall(encode(message))


PARTING = {
    "hang": hang,
    "flood": flood,
    "quiet": quiet,
    "stuck": quiet,
    "deaf": deaf,
    "die": die,
    "complain": complain,
    "garbage": garbage,
    "lose": lose,
}


if __name__ == "__main__":
    main(int(sys.argv[1]))
