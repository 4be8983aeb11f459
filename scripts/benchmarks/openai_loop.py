"""What people write without `localrun batch`: a pool of threads that calls the openai package.

python openai_loop.py PORT FILE THREADS     prints the seconds from the first request to the last
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai


def main(port: str, file: str, threads: str) -> None:
    """Answer all lines of a file."""
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    bodies = [json.loads(line)["body"] for line in Path(file).read_text().splitlines()]

    def ask(body: dict[str, object]) -> None:
        client.chat.completions.create(**body)  # type: ignore[call-overload]

    ask(bodies[0])  # the first request of a client takes longer
    begun = time.perf_counter()
    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(ask, bodies))
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main(*sys.argv[1:])
