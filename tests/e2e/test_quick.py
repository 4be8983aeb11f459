"""What commands cost: processor time of the rows of `scripts/bench quick`, and their imports.

Processor time is compared with that of a bare Python which runs meanwhile. It includes what the
server and its warm process spend on a command, but not the model's runner.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchmarks.contestants import free_port
from benchmarks.quick.measures import TAB
from benchmarks.quick.processes import listener, processor_s
from benchmarks.quick.programs import OURS, BarePython, Program
from benchmarks.quick.rows import ROWS

from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psutil
    from benchmarks.quick.rows import Row

ROUNDS, TRIES = 3, 10
QUESTION = ("run", "guide", "What is 2 + 3?")
COMMANDS = (
    ("--help",), ("list",), ("ps",), ("show", "guide"), QUESTION, ("why", "guide"),
    ("stop", "guide"), ("cp", "guide", "other"), ("rm", "other"), ("verify", "guide"),
)  # fmt: skip

TYPER = {"annotated_doc", "localrun", "shellingham", "typer"}
# rich imports attr where something brought it: the tests' own packages may
HELP = TYPER | {"attr", "markdown_it", "mdurl", "pygments", "rich"}
STORE = TYPER | {"platformdirs"}
PACKAGES = {
    ("--help",): HELP,
    ("list",): STORE,
    ("ps",): STORE,
    ("show", "guide"): STORE | {"backports", "jinja2", "markupsafe"},
    ("stop", "guide"): STORE,
    QUESTION: STORE,
    ("why", "guide"): STORE,
}
FRONT = {
    "__future__", "_socket", "localrun", "localrun.front", "localrun.sockets", "localrun.warm",
    "localrun.warm.handover", "localrun.warm.protocol", "localrun.warm.submission",
}  # fmt: skip

# programs that run commands; the last line of their stderr has the modules that were imported
OF_THE_FRONT = """
import os, sys
before, leave = set(sys.modules), os._exit
def report(code):
    os.write(2, ("\\n" + " ".join(set(sys.modules) - before)).encode())
    leave(code)
os._exit = report
from localrun.front import main
main()
"""
OF_A_WORKER = """
import os, sys
from localrun.cli.internal import warm
until_a_runner = iter(warm._import())
while next(until_a_runner) is None:
    pass
before = set(sys.modules)
for words in sys.argv[1:]:
    sys.argv = ["localrun", *words.split("|")]
    try:
        warm._run()
    except SystemExit:
        pass
os.write(2, ("\\n" + " ".join(set(sys.modules) - before)).encode())
"""
OF_A_COMMAND = """
import os, sys
from localrun.cli.main import main
try:
    main()
except SystemExit:
    pass
os.write(2, ("\\n" + " ".join(sys.modules)).encode())
"""

forks = pytest.mark.usefixtures("_workers")


@pytest.fixture
def _workers() -> None:
    """Skip a test of workers where there are none, also by ``--warm=never``."""
    if sys.platform != "linux" or os.environ.get("LOCALRUN_WARM") == "0":
        pytest.skip("commands are forked from the warm process")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Return the program with a server of its own and guide loaded."""
    path = Path(sys.executable).with_name("localrun")
    folder = tmp_path_factory.mktemp("quick")
    found = Program(name=OURS, path=str(path), folder=folder, port=free_port())
    with found.serving("guide"):
        yield found


@forks
@pytest.mark.parametrize("row", [row for row in ROWS if row.max_cost], ids=lambda row: row.name)
def test_a_command_costs_a_few_times_as_much_as_a_bare_python(program: Program, row: Row) -> None:
    server = listener(program.port)
    assert server is not None
    bare_s = ours_s = math.inf
    for _ in range(TRIES):
        bare_s = min(bare_s, cost_s(lambda: BarePython().piped_ms(), server))
        ours_s = min(ours_s, cost_s(lambda: row.measure(program), server))
        if ours_s <= (row.max_cost or 0) * bare_s:
            break

    assert ours_s <= (row.max_cost or 0) * bare_s


@forks
@pytest.mark.parametrize("words", COMMANDS[1:5], ids=lambda words: words[0])
def test_the_process_that_hands_a_command_over_imports_hardly_anything(
    program: Program, words: tuple[str, ...]
) -> None:
    assert imported(program, OF_THE_FRONT, *words) <= FRONT


@forks
def test_a_worker_of_the_warm_process_imports_nothing(program: Program) -> None:
    commands = ["|".join(words) for words in COMMANDS]

    assert imported(program, OF_A_WORKER, *commands) == set()


@forks
def test_the_warm_process_imports_numpy_after_a_first_runner(program: Program) -> None:
    server = listener(program.port)
    assert server is not None
    warm = next(child for child in server.children() if "warm" in child.cmdline())

    wait_until(lambda: "numpy" in Path(f"/proc/{warm.pid}/maps").read_text(), "numpy")


@pytest.mark.parametrize("words", PACKAGES, ids=lambda words: words[0])
def test_a_command_without_a_warm_process_imports_only_what_it_needs(
    program: Program, words: tuple[str, ...]
) -> None:
    packages = packages_of(program, *words)

    assert {"localrun", "typer"} <= packages
    assert packages <= PACKAGES[words]


def test_a_completion_without_a_warm_process_imports_no_more_than_a_list(program: Program) -> None:
    packages = packages_of(program, **TAB)

    assert {"localrun", "typer"} <= packages
    assert packages <= STORE


def cost_s(work: Callable[[], object], server: psutil.Process) -> float:
    """Return the processor time of commands, with that of the server and its warm process."""
    processes, runners = [server, *server.children()], server.children(recursive=True)
    before_s = processor_s(processes)
    for _ in range(ROUNDS):
        work()
    wait_until(lambda: set(server.children(recursive=True)) <= set(runners), "the end of workers")
    return processor_s(processes) - before_s


def packages_of(program: Program, *words: str, **variables: str) -> set[str]:
    """Return the packages outside of the standard library that a command imports."""
    modules = imported(program, OF_A_COMMAND, *words, **variables)
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    return {name for name in packages if not name.startswith("_")}


def imported(program: Program, code: str, *words: str, **variables: str) -> set[str]:
    """Return the modules that a program reports after it has run commands."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=program.environ | variables, check=True,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    return set(done.stderr.split("\n")[-1].split())
