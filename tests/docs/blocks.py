"""Fenced blocks and spans of the pages that users read.

The words after a language say what a test does with a block; readers do not see them:

    sh                   commands, which run
    sh REASON            commands, of which ours are parsed: network, gpu, program, ...
    console              commands after "$ ", with their output, which is compared
    python               a program, which runs
    json, toml, yaml     parsed
    modelfile            checked by `localrun lint`
    text                 neither commands nor a format
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HELP = ROOT / "localrun" / "docs" / "help"
PAGES = [ROOT / "README.md", *sorted(HELP.glob("*.md"))]
SAMPLES = sorted((ROOT / "modelfiles").glob("*.Modelfile"))
COMMANDS, FORMATS, OTHERS = (
    ("sh", "console"),
    ("json", "toml", "yaml"),
    ("python", "modelfile", "text"),
)
LANGUAGES = {*COMMANDS, *FORMATS, *OTHERS}
REASONS = {  # why a block does not run
    "background": "it does not end",
    "gpu": "it needs a GPU, or a compiler of one",
    "install": "it installs programs",
    "model": "it needs a model of a kind that is not here",
    "network": "it needs the network",
    "program": "it starts a program that may not be here",
    "terminal": "it needs a terminal",
}
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(localrun(?: [^`]*)?)`")
PROMPT = "$ "
CONTINUED = "\\\n"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    reason: str  # "" if it runs
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}: {self.text.splitlines()[0] if self.text else 'empty'}"

    @property
    def commands(self) -> str:
        """Return the commands of a block as a shell reads them."""
        if self.language != "console":
            return self.text
        lines = self.text.replace(CONTINUED, " ").splitlines()
        return "\n".join(line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT))


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    text = page.read_text()
    return [
        Block(page, language, reason.strip(), content)
        for language, reason, content in FENCE.findall(text)
    ]


def spans(page: Path) -> list[str]:
    """Return the commands of ours in running text."""
    return SPAN.findall(FENCE.sub("", page.read_text()))


def sample_commands(sample: Path) -> list[str]:
    """Return the commands in the comments of a Modelfile."""
    return [
        line.removeprefix("#").strip()
        for line in sample.read_text().splitlines()
        if line.startswith("#   ")
    ]
