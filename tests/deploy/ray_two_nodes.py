"""Two nodes of Ray on one machine with a replica each, one of which is killed under load.

    PYTHON_WITH_RAY ray_two_nodes.py FOLDER_OF_THE_PRINTED_FILES PORT

Prints RESULT {"nodes": 2, "lost": 1, "lost_after": 0}: nodes that answered before, and lost
requests.
Imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import ray
import yaml
from ray import serve
from ray.cluster_utils import Cluster

NUM_REQUESTS, AT_ONCE, BEFORE_KILL = 200, 4, 20
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}


async def ask_all(url: str, count: int, after_some: Any = None) -> int:
    """Return how many of the requests were lost; call a function once some were answered."""
    gate, answered = asyncio.Semaphore(AT_ONCE), asyncio.Event()
    done = 0

    async def one(http: aiohttp.ClientSession, number: int) -> bool:
        nonlocal done
        message = {"role": "user", "content": f"hi {number}"}
        body = {"model": "guide", "messages": [message], "max_tokens": 4}
        async with gate:
            try:
                async with http.post(f"{url}/v1/chat/completions", json=body) as answer:
                    await answer.read()
                    is_right = bool(answer.status == 200)
            except aiohttp.ClientError:
                is_right = False
        done += 1
        if done >= BEFORE_KILL:
            answered.set()
        return is_right

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
        tasks = [asyncio.create_task(one(http, number)) for number in range(count)]
        if after_some is not None:
            await answered.wait()
            await asyncio.to_thread(after_some)
        return sum(not each for each in await asyncio.gather(*tasks))


def main(folder: str, port: int) -> None:
    sys.path.insert(0, folder)
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    second = cluster.add_node(**NODE)
    try:
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        from localrun_ray import build

        (application,) = yaml.safe_load(Path(folder, "serve.yaml").read_text())["applications"]
        serve.run(build(application["args"]), blocking=False)
        url = f"http://127.0.0.1:{port}"
        before = asyncio.run(ask_all(url, 20))
        deployments = serve.status().applications["default"].deployments
        running = deployments["replica"].replica_states.get("RUNNING", 0)  # at most one a node
        lost = asyncio.run(
            ask_all(url, NUM_REQUESTS, lambda: cluster.remove_node(second, allow_graceful=False))
        )
        after = asyncio.run(ask_all(url, 20))
        result = {"nodes": running, "lost": lost, "lost_after": after + before}
        sys.stdout.write(f"\nRESULT {json.dumps(result)}\n")  # Ray writes lines of its own
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
