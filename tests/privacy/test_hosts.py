"""Only the commands that the page on privacy lists use the network, and only those hosts."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.docs.blocks import HELP
from tests.e2e.conftest import Home, make_home, server_of
from tests.privacy.watching import is_local, needs_watch, watch_network

assert sys.platform == "linux"  # where a library is loaded before all others

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.privacy.watching import Watch

PAGE = (HELP / "privacy.md").read_text()
HUBS = {"huggingface.co", "modelscope.cn"}
ASKED = {  # hosts that are asked when none answers
    "pull qwen3:0.6b": HUBS,
    "pull hf.co/owner/repo": {"huggingface.co"},
    "pull ms:owner/repo": {"modelscope.cn"},
    "pull ollama:llama3.2:3b": {"registry.ollama.ai"},
    "pull docker:ai/smollm2": {"registry-1.docker.io"},
    "pull oci://registry.example/team/model": {"registry.example"},
    "pull https://host.example/x.gguf": {"host.example"},
    "push mine ghcr.example/me/mine": {"ghcr.example"},
    "search coder": HUBS,
    "plan qwen3:8b": HUBS,
    "run qwen3:8b hi": HUBS,
    "create new -f {recipe}": HUBS,
    "upgrade --check": {"pypi.org"},
    "remote add big https://gpu1.example:8000/v1 --model m": {"gpu1.example"},
    "remote test far": {"gpu2.example"},
    f"backend add https://host.example/x.zip#sha256={0:064}": {"host.example"},
}
QUIET = (
    "list", "ps", "show guide", "run guide hi", "plan guide", "why guide", "outdated", "pull --all",
    "verify", "verify --repair", "du", "prune", "lock", "doctor", "help", "version", "load nosuch",
    "cp guide mine", "show mine --modelfile", "export mine -o {home}/m.tar", "import --from ollama",
    "remote list", "show far", "cp far near", "plan far", "push far ghcr.example/me/far",
    "backend list", "backend why", "service status", "upgrade", "completion bash", "manual",
)  # fmt: skip
FOREIGN = "import socket; socket.create_connection(('192.0.2.1', 80))"

pytestmark = needs_watch


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    with watch_network(tmp_path_factory.mktemp("watch")) as found:
        yield found


@pytest.fixture(scope="module")
def home(watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    found = make_home(folder)
    models = str(folder / "models")
    found.environ.update(watch.environ, LOCALRUN_MODELS=models, LOCALRUN_IDLE_EXIT="600")
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "HTTPS_PROXY", "https_proxy"):
        found.environ.pop(name, None)
    assert found.run("run", "guide", "hi").returncode == 0
    recipe = "FROM remote+https://gpu2.example:8000/v1/m"
    assert found.run("create", "far", "-f", "-", stdin=recipe).returncode == 0
    yield found
    found.run("stop", "--server")


def words_of(command: str, home: Home) -> list[str]:
    folder = Path(home.environ["HOME"])
    recipe = folder / "Modelfile"
    recipe.write_text("FROM qwen3:8b\n")
    return command.format(home=folder, recipe=recipe).split()


def hosts(watch: Watch) -> set[str]:
    return {line.split()[1] for line in watch.seen()}


def test_commands_on_this_machine_ask_nobody(home: Home, watch: Watch) -> None:
    for command in QUIET:
        home.run(*words_of(command, home))

        assert watch.seen() == [], command


@pytest.mark.parametrize("command", ASKED)
def test_a_command_asks_the_hosts_of_its_name(command: str, home: Home, watch: Watch) -> None:
    home.run("cp", "guide", "mine")
    home.run(*words_of(command, home))

    assert hosts(watch) == ASKED[command]


@pytest.mark.parametrize("command", ASKED)
def test_a_command_without_the_network_asks_nobody(
    command: str, home: Home, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(home.environ, "LOCALRUN_OFFLINE", "1")

    home.run(*words_of(command, home))

    assert watch.seen() == []


def test_the_page_lists_the_commands_and_hosts() -> None:
    commands = {command.split()[0] for command in ASKED}
    listed = set(re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE))

    assert commands <= listed
    for found in ASKED.values():
        assert all(host in PAGE for host in found if not host.endswith(".example"))


def test_a_remote_model_is_asked_at_its_address_alone(home: Home, watch: Watch) -> None:
    done = home.run("run", "far", "hi")

    assert done.returncode != 0
    assert hosts(watch) == {"gpu2.example"}


def test_jobs_of_the_server_are_watched(home: Home, watch: Watch) -> None:
    home.run("run", "guide", "hi")  # the server may have left on a busy machine

    httpx.post(f"{home.url}/api/pull", json={"model": "hf.co/owner/repo"})

    assert [line for line in watch.seen() if "job" in line and "huggingface.co" in line]


def test_every_process_of_the_server_is_watched(home: Home, watch: Watch) -> None:
    home.run("run", "guide", "hi")
    server = server_of(home)

    for process in (server, *server.children(recursive=True)):
        assert str(watch.library) in {each.path for each in process.memory_maps()}, process


def test_programs_with_other_options_and_without_python_are_watched(watch: Watch) -> None:
    for options in ([], ["-I"], ["-S", "-E"]):
        command = [sys.executable, *options, "-c", FOREIGN]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)

        assert [line.split(" (")[0] for line in watch.seen()] == ["connect 192.0.2.1"]

    subprocess.run(["bash", "-c", ": > /dev/udp/192.0.2.1/9"], check=False, capture_output=True)
    assert [line.split(" (")[0] for line in watch.seen()] == ["connect 192.0.2.1"]


def test_this_process_is_watched(watch: Watch) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        with contextlib.suppress(OSError):  # without a network
            datagrams.connect(("192.0.2.1", 9))  # sends nothing

    assert [line.split(" (")[0] for line in watch.seen()] == ["socket.connect 192.0.2.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "0.0.0.0", ""])  # noqa: S104 - an address
def test_this_machine_is_local(host: str) -> None:
    assert is_local(host)
