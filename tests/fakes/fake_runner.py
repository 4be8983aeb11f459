"""A runner without a model: speaks the real frames and does what the prompt says.

    say TEXT      answers TEXT, a word a step
    hang          starts, says "...", and waits for its cancel
    die           starts, says "half", and kills itself with SIGKILL
    fail          ends with an error

A model whose file is called ``broken.gguf`` does not load; one called
``dies.gguf`` kills the process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from localrun.engine.params import FinishReason
from localrun.runner.frames import Message, encode, read_messages
from localrun.runner.messages import (
    Cancel,
    Exit,
    Failed,
    Finished,
    Generate,
    Load,
    LoadFailed,
    Progress,
    Ready,
    Started,
    Step,
)


def main(fd: int) -> None:
    sock = socket.socket(fileno=fd)
    for message in read_messages(sock):
        if isinstance(message, Load):
            load(sock, message)
        elif isinstance(message, Generate):
            generate(sock, message)
        elif isinstance(message, Cancel):
            send(sock, finished(message.request_id, FinishReason.CANCELLED, 1))
        elif isinstance(message, Exit):
            return


def load(sock: socket.socket, message: Load) -> None:
    name = Path(message.model_path).name
    if name == "broken.gguf":
        send(sock, LoadFailed(message="broken.gguf could not be loaded: not a model"))
        return
    if name == "dies.gguf":
        sys.stderr.write("ggml: assertion failed\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGABRT)
    send(sock, Progress(fraction=0.5))
    send(
        sock,
        Ready(
            num_ctx=message.num_ctx or 2048,
            num_parallel=16,
            device="CPU",
            size_bytes=1000,
            size_gpu_bytes=0,
            load_s=0.1,
        ),
    )


def generate(sock: socket.socket, request: Generate) -> None:
    prompt = request.messages[-1]["content"] if request.messages else request.prompt or ""
    number = request.request_id
    if prompt == "fail":
        send(sock, Failed(request_id=number, code="context_length_exceeded", message="too long"))
        return
    send(sock, Started(request_id=number, prompt_tokens=5, prompt_tail=""))
    if prompt == "hang":
        send(sock, Step(deltas=((number, "..."),)))
    elif prompt == "die":
        send(sock, Step(deltas=((number, "half"),)))
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        words = prompt.removeprefix("say ").split(" ")
        for index, word in enumerate(words):
            send(sock, Step(deltas=((number, word if index == 0 else f" {word}"),)))
        send(sock, finished(number, FinishReason.STOP, len(words)))


def finished(request_id: int, reason: FinishReason, tokens: int) -> Finished:
    return Finished(
        request_id=request_id,
        reason=reason,
        prompt_tokens=5,
        generated_tokens=tokens,
        queue_s=0.0,
        prompt_s=0.01,
        generation_s=0.02,
    )


def send(sock: socket.socket, message: Message) -> None:
    sock.sendall(encode(message))


if __name__ == "__main__":
    main(int(sys.argv[1]))
