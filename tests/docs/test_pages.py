"""Pages agree with the program: dependencies, exit codes, messages, variables."""

from __future__ import annotations

import re
import tomllib

from tests.docs.blocks import HELP, PAGES, ROOT

SOURCES = "\n".join(path.read_text() for path in (ROOT / "localrun").rglob("*.py"))
TEXT = "\n".join(page.read_text() for page in PAGES)
INTERNAL = {
    "LOCALRUN_BINARY",
    "LOCALRUN_COMMAND",  # marks the processes of a model's command
    "LOCALRUN_FAILED_LIBRARIES",
    "LOCALRUN_LAUNCHD",
}  # between our own processes
VARIABLE = re.compile(r"\bLOCALRUN_[A-Z][A-Z_]+")


def test_every_variable_of_the_program_is_explained_and_no_other() -> None:
    read = set(re.findall(r"\"(LOCALRUN_[A-Z][A-Z_]+)\"", SOURCES)) - INTERNAL
    rows = re.findall(r"^\| (`LOCALRUN.*?) \|", TEXT, re.MULTILINE)
    explained = set(VARIABLE.findall("\n".join(rows)))

    assert read <= explained
    assert explained <= set(VARIABLE.findall(SOURCES))


def test_the_readme_names_each_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    readme = (ROOT / "README.md").read_text()

    for requirement in project["dependencies"]:
        assert re.split(r"[><=;]", requirement)[0].strip() in readme


def test_the_exit_codes_of_the_page_are_those_of_errors() -> None:
    page = (HELP / "troubleshooting.md").read_text()
    codes = {
        line.split()[1] for line in (ROOT / "tests/golden/errors.txt").read_text().splitlines()
    }

    assert codes | {"0", "130"} == set(re.findall(r"^\| (\d+) \|", page, re.MULTILINE))


def test_messages_of_the_page_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| (.*?) \|", (HELP / "troubleshooting.md").read_text(), re.MULTILINE)

    for message in re.findall(r"`([^`]+)`", "\n".join(rows)):
        words = message.split()
        runs = [" ".join(words[at : at + 3]) for at in range(max(len(words) - 2, 1))]
        assert any(run.removesuffix(" ...") in SOURCES for run in runs), message


def test_files_that_pages_name_exist() -> None:
    docs = ROOT / "localrun" / "docs"
    pages = [*PAGES, docs / "development.md", docs / "guide.md", docs / "changelog.md"]

    for page in pages:
        text = page.read_text()
        for script in re.findall(r"\bscripts/[a-z]+(?:-[a-z]+)*\b", text):
            assert (ROOT / script).exists(), f"{page.name}: {script}"
        for link in re.findall(r"\]\(([^):]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_layers_of_the_architecture_are_those_that_are_enforced() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    text = "\n".join(layers).replace("localrun.", "")

    assert f"```\n{text}\n```" in (ROOT / "localrun" / "docs" / "architecture.md").read_text()
