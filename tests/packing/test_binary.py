"""The binary itself: what is in its tree, and that the launcher speaks as Python does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import elf
import pytest
from packing.payload import HEAD, TRAILER_BYTES
from packing.tree import elf_files

from localrun import __version__
from tests.program import BINARY
from tests.waiting import HANG_S

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(BINARY is None, reason="scripts/test --binary FILE runs it")

MAX_BYTES = 150_000_000
NUM_FACTS = 6
NUM_FIELDS = 6  # of a request, before its arguments
WORDS = ("list", "--json", "ä\udc80")
# environments that change how Python encodes, or whether a command is handed over
ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"LANG": "C"},
    {"LANG": "C.UTF-8"},
    {"LANG": "C.utf8"},
    {"LANG": "en_US.UTF-8"},
    {"LANG": "nowhere.UTF-8"},
    {"LANG": "de_DE.ISO-8859-1"},
    {"LC_ALL": "C"},
    {"LC_ALL": "", "LC_CTYPE": "POSIX"},
    {"LC_CTYPE": "C.UTF-8", "LANG": "C"},
    {"PYTHONUNBUFFERED": "1"},
    {"PYTHONUNBUFFERED": ""},
    {"PYTHONDONTWRITEBYTECODE": "1"},
    {"NAME": "a=b", "EMPTY": ""},
]
REFUSED: list[dict[str, str]] = [
    {"LOCALRUN_WARM": "0"},
    {"PYTHONUTF8": "1"},
    {"LOCALRUN_MODELS": "/dev/fd/3"},
    {"LOCALRUN_HOST": "127.0.0.1:1/x"},
]


@pytest.fixture(scope="module")
def facts() -> list[str]:
    data = Path(str(BINARY)).read_bytes()
    trailer = data[-TRAILER_BYTES:]
    size = HEAD.unpack_from(trailer)[4]
    return data[-TRAILER_BYTES - size : -TRAILER_BYTES].decode().split("\0")[:NUM_FACTS]


def test_the_file_is_not_too_large() -> None:
    assert Path(str(BINARY)).stat().st_size <= MAX_BYTES


def test_no_program_or_library_needs_a_newer_glibc_than_stated(
    tree: Path, facts: list[str]
) -> None:
    programs = elf_files(tree)

    floor = elf.glibc_floor(programs)

    assert ".".join(map(str, floor)) == facts[-1]
    assert len(programs) > 50


def test_every_package_is_listed_with_its_licence(tree: Path) -> None:
    rows = json.loads((tree / "licenses" / "packages.json").read_text())

    names = {row["name"].lower() for row in rows}
    assert {"python", "openssl", "zstandard", "numpy", "llama_cpp_python", "typer"} <= names
    assert [row["name"] for row in rows if not row["license"] or not row["version"]] == []


def test_no_record_of_the_installation_stays(tree: Path) -> None:
    records = [*tree.rglob("RECORD"), *tree.rglob("direct_url.json")]

    assert records == [], "they have the folder of the build: two builds would differ"


def test_a_command_writes_nothing_into_the_tree(tree: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}

    subprocess.run([str(BINARY), "help"], check=True, capture_output=True)

    after = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    assert before.keys() == after.keys()


def test_the_version_is_that_of_the_package(facts: list[str]) -> None:
    done = subprocess.run([str(BINARY), "--version"], check=True, capture_output=True, text=True)

    assert done.stdout == f"localrun {facts[0]}\n" == f"localrun {__version__}\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return a socket where commands look for a warm process; at a short path, which it needs."""
    with tempfile.TemporaryDirectory() as runtime, socket.socket(socket.AF_UNIX) as listening:
        folder = Path(runtime, "localrun")
        folder.mkdir(mode=0o700)
        listening.bind(str(folder / "127.0.0.1:11435.warm"))
        listening.listen()
        listening.settimeout(HANG_S)
        yield listening


Submitted = tuple[list[bytes], set[bytes], int]


def submitted(listener: socket.socket, command: list[str], environ: dict[str, str]) -> Submitted:
    """Return the fields, the environment and the number of files that a command sends."""
    words = [os.fsencode(word) for word in (*command, *WORDS)]
    with subprocess.Popen(
        words, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            return _received(listener)
        finally:
            process.kill()
            process.communicate(timeout=HANG_S)


def _received(listener: socket.socket) -> Submitted:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(HANG_S)
        connection.sendall(b"H")
        head, files, _, _ = socket.recv_fds(connection, 8, 5)
        for fd in files:
            os.close(fd)
        length, body = int.from_bytes(head[4:], "big"), b""
        while len(body) < length and (part := connection.recv(length - len(body))):
            body += part
    assert head.startswith(b"LRW1")
    fields = body.split(b"\0")
    end = NUM_FIELDS + int(fields[NUM_FIELDS - 1])
    return fields[:end], set(fields[end:]), len(files)


def environment_of(listener: socket.socket, variables: dict[str, str]) -> dict[str, str]:
    runtime = str(Path(listener.getsockname()).parents[1])
    kept = {name: os.environ[name] for name in ("PATH", "LOCALRUN_UNPACK")}
    return {**kept, "HOME": "/", "XDG_RUNTIME_DIR": runtime, **variables}


@pytest.mark.parametrize("variables", ENVIRONMENTS, ids=str)
def test_the_launcher_submits_what_python_would(
    listener: socket.socket, tree: Path, facts: list[str], variables: dict[str, str]
) -> None:
    environ = environment_of(listener, variables)
    python = [str(tree / facts[1]), "-P", str(tree / facts[2])]

    ours = submitted(listener, [str(BINARY)], environ)

    named = {"LOCALRUN_BINARY": str(BINARY)}
    assert ours == submitted(listener, python, environ | named)


@pytest.mark.parametrize("variables", REFUSED, ids=str)
def test_the_launcher_hands_over_only_what_python_would(
    listener: socket.socket, variables: dict[str, str]
) -> None:
    environ = environment_of(listener, variables)
    listener.settimeout(0)
    with suppress(subprocess.CalledProcessError):
        subprocess.run([str(BINARY), "list"], env=environ, check=True, capture_output=True)

    with pytest.raises(BlockingIOError):
        listener.accept()
