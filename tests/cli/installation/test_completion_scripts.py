"""Completion scripts, in the shells that this machine has. PowerShell's is compared by its text."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localrun.cli.app import app
from localrun.cli.installation.completion_scripts import POWERSHELL, SCRIPTS, use_own_scripts
from localrun.names.parse import parse_name
from localrun.services.naming import copy_model
from localrun.services.workspace import open_workspace

# the calls are made as by the shell's Tab key; each prints one candidate a line
BASH = """
source "$1"
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
for COMP_LINE in "${@:2}"; do
    COMP_POINT=${#COMP_LINE}
    _localrun_completion localrun
    echo "$COMP_LINE => ${COMPREPLY[*]}"
done
complete -p localrun
"""
ZSH = """
compdef() { registered=$* }
_describe() { found=("${(@P)2}") }
_files() { found=(FILES) }
source "$1"
for line in "${@:2}"; do
    words=("${(@s: :)line}") CURRENT=${#words} found=()
    _localrun
    print -r -- "$line => $found"
done
print -r -- $registered
"""
FISH = """
source $argv[1]
for line in $argv[2..]
    echo "$line =>" (complete -C $line | string replace \\t : | string join ' ')
end
"""


@pytest.fixture
def lines() -> list[str]:
    """Return lines to complete, in a store with a few models."""
    workspace = open_workspace(os.environ)
    for name in ("gumbo", "gumbo:7b"):
        copy_model(workspace, parse_name("guide"), parse_name(name))
    return ["localrun run gum", "localrun rm gumbo:", "localrun serve --device c", "localrun x y"]


def completed(shell: str, program: str, lines: list[str], folder: Path) -> list[str]:
    """Return what a shell prints that runs a program with the script and the lines."""
    script = folder / "script"
    script.write_text(SCRIPTS[shell])
    (folder / "localrun").symlink_to(Path(sys.executable).with_name("localrun"))
    option = {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}[shell]
    name = [] if shell == "fish" else ["shell"]
    done = subprocess.run(
        [shell, option, "-c", program, *name, script, *lines],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)},
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(shell), reason=f"{shell} is not installed")


@needs("bash")
def test_bash_completes_what_is_after_the_colon(lines: list[str], tmp_path: Path) -> None:
    assert completed("bash", BASH, lines, tmp_path) == [
        "localrun run gum => gumbo:7b gumbo",
        "localrun rm gumbo: => 7b latest",
        "localrun serve --device c => cpu cuda",
        "localrun x y => ",
        "complete -o default -F _localrun_completion localrun",
    ]


@needs("zsh")
def test_zsh_describes_candidates_and_falls_back_to_files(lines: list[str], tmp_path: Path) -> None:
    assert completed("zsh", ZSH, lines, tmp_path) == [
        "localrun run gum => gumbo\\:7b gumbo",
        "localrun rm gumbo: => gumbo\\:7b gumbo\\:latest",
        "localrun serve --device c => cpu cuda",
        "localrun x y => FILES",
        "_localrun localrun",
    ]


@needs("fish")
def test_fish_completes_and_falls_back_to_files(lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "yes.gguf").touch()

    assert completed("fish", FISH, [*lines, "localrun service st"], tmp_path) == [
        "localrun run gum => gumbo gumbo:7b",
        "localrun rm gumbo: => gumbo:7b gumbo:latest",
        "localrun serve --device c => cpu cuda",
        "localrun x y => yes.gguf",
        "localrun service st => status:Show whether the service is installed,...",
    ]


def test_powershell_asks_with_the_line_before_the_cursor_and_leaves_no_variable() -> None:
    set_names = {word for word in POWERSHELL.replace("$Env:", " $Env:").split() if "$Env:" in word}

    assert "Register-ArgumentCompleter -Native -CommandName localrun" in POWERSHELL
    assert {name.removeprefix("$") for name in set_names} == {
        "Env:_LOCALRUN_COMPLETE", "Env:_TYPER_COMPLETE_FISH_ACTION", "Env:_TYPER_COMPLETE_ARGS",
    }  # fmt: skip
    assert all(POWERSHELL.count(name.removeprefix("$")) == 2 for name in set_names)


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_printed(shell: str) -> None:
    assert CliRunner().invoke(app, ["completion", shell]).output == SCRIPTS[shell]


def test_an_unknown_shell_is_an_error() -> None:
    done = CliRunner().invoke(app, ["completion", "tcsh"])

    assert "tcsh is none of bash, zsh" in str(done.exception)


def test_the_options_of_typer_use_the_same_scripts() -> None:
    from typer._completion_shared import get_completion_script

    use_own_scripts()
    for shell, script in SCRIPTS.items():
        own = get_completion_script(prog_name="localrun", complete_var="X", shell=shell)
        assert own == script.strip()
