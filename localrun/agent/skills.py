"""Skills: folders with a SKILL.md, listed to the model by name and loaded when it asks.

    ---
    name: release
    description: How to make a release of this project.
    ---
    Steps ...

Searched below the folder of the tools, then among the user's own; the first of a name counts:
``.agents/skills``, ``.claude/skills``, ``.localrun/skills``, and ``~/.config/localrun/skills``.
A skill is text for the model; nothing in its folder is executed. Invariant: sizes and numbers are
bounded, and a file of a skill is read below the folder of this skill alone.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.agent.toolbox import AgentTool, Effect, ToolError, ToolResult
from localrun.agent.tools.arguments import check_known, read_text, schema, text_of
from localrun.agent.tools.folder import WorkFolder
from localrun.agent.tools.reading import decoded

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from localrun.agent.toolbox import Arguments

FILE = "SKILL.md"
PROJECT_FOLDERS = (".agents/skills", ".claude/skills", ".localrun/skills")
USER_FOLDERS = (".agents/skills", ".claude/skills")
MAX_SKILLS, MAX_SKILL_FOLDERS = 100, 1000
MAX_FIELDS = 100  # lines of the front matter
LONGEST_SKILL_NAME, LONGEST_ABOUT = 64, 1024  # characters
MAX_LISTED_BYTES = 8 * 1024  # of the list for the model
MAX_FILES = 50
SKILL_SCHEMA = schema(
    ("name",),
    name=text_of("Name of the skill."),
    file=text_of("Another file of the skill, relative to its folder."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A skill on disk."""

    name: str
    about: str
    folder: Path


def find_skills(project: Path | None, home: Path, own: Path) -> list[Skill]:
    """Return the skills of a project folder and of the user, by name; ``own`` is localrun's."""
    folders = [] if project is None else [project / name for name in PROJECT_FOLDERS]
    folders += [own, *(home / name for name in USER_FOLDERS)]
    skills: dict[str, Skill] = {}
    for folder in folders:
        for skill in _skills_in(folder):
            if len(skills) < MAX_SKILLS:
                skills.setdefault(skill.name, skill)
    return sorted(skills.values(), key=lambda skill: skill.name)


def skill_tool(skills: Sequence[Skill]) -> AgentTool:
    """Return the tool that loads a skill; its description lists the skills."""
    lines = [f"- {skill.name}: {skill.about}" for skill in skills]
    listed = "\n".join(lines)[:MAX_LISTED_BYTES]
    return AgentTool(
        name="load_skill",
        description=f"Load the instructions of a skill when its subject comes up:\n{listed}",
        parameters=SKILL_SCHEMA,
        effect=Effect.READ,
        execute=lambda arguments, _cancel: load_skill(skills, arguments),
    )


def load_skill(skills: Sequence[Skill], arguments: Arguments) -> ToolResult:
    """Return the text of a skill and the names of its files, or the text of one of them.

    Raises:
        ToolError: there is no such skill or file.
    """
    check_known(arguments, SKILL_SCHEMA)
    name = read_text(arguments, "name")
    file = read_text(arguments, "file", "") or FILE
    skill = next((each for each in skills if each.name == name), None)
    if skill is None:
        names = ", ".join(each.name for each in skills)
        raise ToolError(f"There is no skill {name[:LONGEST_SKILL_NAME]!r}. Skills: {names}.")
    folder = WorkFolder(skill.folder)
    text = decoded(folder.read(file), file)
    if file != FILE:
        return ToolResult(text=text, summary=f"{name}/{file}")
    others = [path for path in _files(folder) if path != FILE]
    note = f"\n\nOther files of this skill: {', '.join(others)}" if others else ""
    return ToolResult(text=_body(text) + note, summary=f"skill {name}")


def read_head(text: str) -> dict[str, str]:
    """Return the fields of the front matter: one-line texts, lists and blocks are left out."""
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return {}
    fields: dict[str, str] = {}
    for line in lines[1:MAX_FIELDS]:
        if line.strip() == "---":
            return fields
        key, colon, value = line.partition(":")
        if colon and key.strip() == key:
            fields[key] = _unquoted(value.strip())
        elif line.startswith("  ") and fields:  # a folded text goes on
            last = next(reversed(fields))
            fields[last] = f"{fields[last].strip('>|- ')} {line.strip()}".strip()
    return {}


def _skills_in(folder: Path) -> Iterator[Skill]:
    try:
        root = WorkFolder(folder.resolve())
        with root.open_folder((), str(folder)) as opened:
            entries = sorted(name for name, facts in root.names(opened, ()) if _is_folder(facts))
    except (OSError, ToolError):
        return
    for name in entries[:MAX_SKILL_FOLDERS]:
        try:
            head = read_head(decoded(root.read(f"{name}/{FILE}"), FILE))
        except ToolError:  # no skill, or not readable
            continue
        title, about = head.get("name", name), head.get("description", "")
        if title.isprintable() and 0 < len(title) <= LONGEST_SKILL_NAME:
            yield Skill(name=title, about=about[:LONGEST_ABOUT], folder=root.root / name)


def _is_folder(facts: os.stat_result) -> bool:
    return stat.S_ISDIR(facts.st_mode)


def _files(folder: WorkFolder) -> list[str]:
    """Return the files of a skill, in its folder and one below."""
    found: list[str] = []
    with folder.open_folder((), ".") as opened:
        entries = sorted((name, _is_folder(facts)) for name, facts in folder.names(opened, ()))
    for name, is_folder in entries[:MAX_FILES]:
        if not is_folder:
            found.append(name)
            continue
        with folder.open_folder((name,), name) as opened:
            below = sorted(each for each, _ in folder.names(opened, (name,)))
        found += [f"{name}/{each}" for each in below[:MAX_FILES]]
    return found[:MAX_FILES]


def _body(text: str) -> str:
    """Return the text behind the front matter."""
    if not read_head(text):
        return text
    _, _, behind = text.partition("\n---")
    return behind.partition("\n")[2].strip()


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if is_quoted else text
