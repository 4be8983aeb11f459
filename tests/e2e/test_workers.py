"""Layers of guide on other processes: the same text, one error each time, and no leftovers."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # elsewhere there are no workers

import contextlib
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from localrun.gguf.header import read_header
from localrun.hardware.projector import buffer_bytes
from localrun.services.machine.workers import has_rpc
from tests.e2e.conftest import Home, make_home
from tests.program import PROGRAM
from tests.signals import SIGKILL
from tests.waiting import HANG_S, wait_until
from tests.workers.hellos import hello

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not has_rpc(), reason="llama.cpp has no RPC backend")
heavy = pytest.mark.skipif(
    "LOCALRUN_TEST_WORKERS" not in os.environ, reason="scripts/test --workers"
)

WORKER = f"{shlex.join(PROGRAM)} worker --threads 1"
LITTLE = "321M"  # which two of guide's layers fit, with the reserve for others
SIZES = {1: "300M", 2: "284M", 3: "282M"}  # of each of so many workers, so that all are needed
ROOT = Path(__file__).parents[2]
PIRATE = ROOT / "modelfiles" / "adapters" / "pirate.gguf"
PROJECTOR = ROOT / "localrun" / "data" / "mmproj-guide.gguf"
PROMPT = "How do I download a model?"
AWAY = "sh -c 'echo no such host >&2; exit 255'"


def named(number: int, memory: str = "300M") -> str:
    """Return the command of a worker; each needs a name of its own."""
    return f"env WORKER_NUMBER={number} {WORKER} --memory {memory}"


@contextlib.contextmanager
def serving(folder: Path, *workers: str, memory: str = LITTLE) -> Iterator[Home]:
    """Start a server with workers; nothing is left of them in the end."""
    home = make_home(folder)
    lines = "\n".join(f"{worker} --" for worker in workers)
    changes = {"LOCALRUN_WORKERS": lines, "LOCALRUN_MEMORY": memory}
    home = Home(home.address, {**home.environ, **changes})
    try:
        yield home
    finally:
        home.run("stop", "--server")
        wait_until(lambda: not far_processes(home), "the end of all workers")


@pytest.fixture(scope="module")
def local_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return guide's answer on this machine, which starts no worker."""
    folder = tmp_path_factory.mktemp("local")
    with serving(folder, f"touch {folder}/started", memory="8G") as home:
        text = home.run("run", "guide", PROMPT, "--temperature", "0").stdout
        assert not (folder / "started").exists()
    assert text
    return text


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Return a home whose server needs two workers."""
    workers = [named(number, SIZES[2]) for number in range(2)]
    with serving(tmp_path_factory.mktemp("worked"), *workers) as home:
        yield home


def far_processes(home: Home) -> list[psutil.Process]:
    """Return the workers of a home that run."""
    found = []
    for process in psutil.process_iter():
        try:
            environ, words = process.environ(), process.cmdline()
        except psutil.Error:
            continue
        is_ours = environ.get("LOCALRUN_HOST") == home.address and "WORKER_NUMBER" in environ
        if is_ours and "worker" in words and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def answer(home: Home, **body: Any) -> dict[str, Any]:
    """Return the last line of an answer."""
    options = {"temperature": 0, "num_predict": 20, **body.pop("options", {})}
    request = {"model": "guide", "prompt": PROMPT, "options": options, **body}
    reply = httpx.post(f"{home.url}/api/generate", json=request, timeout=HANG_S)
    return json.loads(reply.text.splitlines()[-1])  # type: ignore[no-any-return]


def stream_and(home: Home, act: Callable[[], object]) -> list[str]:
    """Act once an answer is requested that takes a while; return its errors."""
    request = {"model": "guide", "prompt": "Tell me all", "options": {"num_predict": 500}}
    with httpx.stream("POST", f"{home.url}/api/generate", json=request, timeout=HANG_S) as reply:
        act()
        lines = [json.loads(line) for line in reply.iter_lines()]
    return [line["error"] for line in lines if "error" in line]


def check_text(home: Home, text: str, count: int) -> dict[str, Any]:
    """Check guide's answer, and return its row of `ps`."""
    done = home.run("run", "guide", PROMPT, "--temperature", "0")
    assert (done.stdout, done.stderr) == (text, "")

    (row,) = json.loads(home.run("ps", "--json").stdout)
    assert len(row["worker_bytes"]) == count
    return row  # type: ignore[no-any-return]


def test_text_over_workers_is_that_of_one_machine_and_the_plan_is_kept(
    worked: Home, local_text: str
) -> None:
    row = check_text(worked, local_text, 2)

    planned = json.loads(worked.run("why", "guide", "--json").stdout)["plan"]
    assert {each["device"] for each in planned["devices"]} == set(row["memory"])
    unused = buffer_bytes(read_header(PROJECTOR))  # nothing was seen or heard
    assert abs(row["size_bytes"] / (planned["total_bytes"] - unused) - 1) < 0.05


def test_a_killed_worker_is_one_error_and_the_next_answer_comes(worked: Home) -> None:
    assert worked.run("load", "guide").returncode == 0
    worker = far_processes(worked)[0]
    number = worker.environ()["WORKER_NUMBER"]
    worker.suspend()  # so that the answer cannot end before

    errors = stream_and(worked, lambda: worker.send_signal(SIGKILL))

    assert len(errors) == 1
    assert f"the worker `env WORKER_NUMBER={number} " in errors[0]
    assert "was lost: it was killed by SIGKILL" in errors[0]
    assert answer(worked)["done"]


def num_cached(home: Home, prompt: str) -> int:
    """Answer a prompt; return how many of its tokens were not computed."""
    body = {"model": "guide", "prompt": prompt, "max_tokens": 1}
    reply = httpx.post(f"{home.url}/v1/completions", json=body, timeout=HANG_S)
    return int(reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_a_prompt_is_found_again_by_other_processes(worked: Home) -> None:
    worked.run("load", "guide")
    prompt = " ".join(f"word{number}" for number in range(300))

    first = num_cached(worked, prompt)
    worked.run("stop", "guide")  # which saves its prompts
    again = num_cached(worked, prompt)

    assert first == 0
    assert again > 0


def test_a_worker_that_ends_while_llama_cpp_connects_is_named(tmp_path: Path) -> None:
    line = shlex.quote(hello().line().decode().strip())
    script = shlex.quote(f"echo {line}; read go; echo out of memory >&2; exit 9")
    with serving(tmp_path, f"sh -c {script}") as home:
        done = home.run("run", "guide", PROMPT)

    assert (done.returncode, done.stdout) == (5, "")
    assert "was lost: it ended with exit code 9: out of memory" in done.stderr


def test_without_its_worker_a_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, AWAY) as home:
        done, plan, doctor = (
            home.run(*words) for words in (("run", "guide", PROMPT), ("plan", "guide"), ("doctor",))
        )

    problem = f"the worker `{AWAY}` cannot be used: it ended with exit code 255: no such host"
    assert (done.returncode, done.stdout) == (5, "")
    assert f"guide:latest does not fit here, and {problem}" in done.stderr
    assert problem in plan.stdout
    assert doctor.returncode == 1
    assert f"wrong    worker {AWAY}: {problem}" in doctor.stdout


def test_a_server_with_a_wrong_worker_does_not_start(tmp_path: Path) -> None:
    done = make_home(tmp_path).run("serve", "--worker", "ssh 'gpu1")

    assert done.returncode == 2
    assert "the worker `ssh 'gpu1` is no command" in done.stderr


@heavy
@pytest.mark.parametrize("count", [1, 3])
def test_text_over_one_and_three_workers_is_that_of_one_machine(
    tmp_path: Path, local_text: str, count: int
) -> None:
    with serving(tmp_path, *(named(n, SIZES[count]) for n in range(count))) as home:
        check_text(home, local_text, count)


def pirate_text(home: Home, folder: Path) -> str:
    recipe = folder / "Modelfile"
    recipe.write_text(f"FROM guide\nADAPTER {PIRATE}\nPARAMETER temperature 0\n")
    assert home.run("create", "pirate", "-f", str(recipe)).returncode == 0
    done = home.run("run", "pirate", PROMPT)
    assert done.stderr == ""
    return done.stdout


@heavy
def test_adapters_work_over_workers(tmp_path: Path, local_text: str) -> None:
    with serving(tmp_path / "local", memory="8G") as home:
        expected = pirate_text(home, tmp_path)
    with serving(tmp_path / "far", named(0), named(1)) as home:
        text = pirate_text(home, tmp_path)
        (row,) = json.loads(home.run("ps", "--json").stdout)

    assert row["worker_bytes"]
    assert text == expected != local_text


@heavy
def test_a_worker_needs_no_network(tmp_path: Path, local_text: str) -> None:
    with serving(tmp_path, f"unshare --map-root-user --net {named(0)}") as home:
        check_text(home, local_text, 1)


@heavy
def test_a_frozen_worker_is_one_error_and_the_next_answer_comes(tmp_path: Path) -> None:
    with serving(tmp_path, named(0)) as home:
        home.run("load", "guide")
        (worker,) = far_processes(home)

        worker.suspend()
        errors = stream_and(home, lambda: None)

        assert len(errors) == 1
        assert "was lost: it gave no sign of life for" in errors[0]
        assert answer(home)["done"]


@heavy
def test_a_worker_that_promises_too_much_is_named(tmp_path: Path) -> None:
    script = (
        f"ulimit -v 900000; WORKER_NUMBER=1 {WORKER} | "
        'sed -u \'1s/"free_bytes": [0-9]*/"free_bytes": 8000000000/\''
    )
    with serving(tmp_path, f"sh -c {shlex.quote(script)}") as home:
        done = home.run("run", "guide", PROMPT)

    assert done.returncode != 0
    assert "worker `sh -c" in done.stderr
    assert done.stdout == ""
