from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.agent.skills import Skill, find_skills, load_skill, read_head, skill_tool
from localrun.agent.toolbox import ToolError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "---\nname: release\ndescription: How to release.\n---\n\nDo this.\n"


def add_skill(folder: Path, name: str, text: str = TEXT) -> Path:
    skill = folder / name
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(text)
    return skill


def found(tmp_path: Path) -> list[Skill]:
    return find_skills(tmp_path / "project", tmp_path / "home", tmp_path / "own")


def test_skills_are_found_below_the_project_and_the_users_folders(tmp_path: Path) -> None:
    add_skill(tmp_path / "project" / ".agents" / "skills", "release")
    add_skill(tmp_path / "project" / ".claude" / "skills", "b", "---\nname: b\n---\n")
    add_skill(tmp_path / "own", "c", "no head")
    add_skill(tmp_path / "home" / ".claude" / "skills", "x", TEXT.replace("How", "Another"))

    skills = found(tmp_path)

    assert [skill.name for skill in skills] == ["b", "c", "release"]
    assert skills[2].about == "How to release."  # the project's


def test_the_model_sees_names_and_loads_the_text(tmp_path: Path) -> None:
    folder = add_skill(tmp_path / "own", "release")
    (folder / "more").mkdir()
    (folder / "more" / "a.md").write_text("details")
    skills = found(tmp_path)

    description = skill_tool(skills).description
    loaded = load_skill(skills, {"name": "release"}).text

    assert "- release: How to release." in description
    assert "Do this" not in description
    assert loaded == "Do this.\n\nOther files of this skill: more/a.md"
    assert load_skill(skills, {"name": "release", "file": "more/a.md"}).text == "details"


@pytest.mark.parametrize("file", ["../c/SKILL.md", "/etc/passwd", "link", "missing"])
def test_a_file_outside_of_a_skill_is_not_loaded(tmp_path: Path, file: str) -> None:
    folder = add_skill(tmp_path / "own", "release")
    add_skill(tmp_path / "own", "c", "secret")
    (folder / "link").symlink_to(tmp_path / "own" / "c" / "SKILL.md")

    with pytest.raises(ToolError):
        load_skill(found(tmp_path), {"name": "release", "file": file})


def test_an_unknown_skill_is_an_error_with_the_names(tmp_path: Path) -> None:
    add_skill(tmp_path / "own", "release")

    with pytest.raises(ToolError, match="Skills: release"):
        load_skill(found(tmp_path), {"name": "other"})


def test_broken_skills_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "own" / "empty").mkdir(parents=True)
    add_skill(tmp_path / "own", "long", "---\nname: " + "x" * 100 + "\n---\n")
    skill = add_skill(tmp_path / "own", "binary")
    (skill / "SKILL.md").write_bytes(b"\0\xff")

    assert found(tmp_path) == []


def test_a_head_has_texts_quoted_and_folded() -> None:
    head = read_head('---\nname: "a: b"\ndescription: >\n  one\n  two\n---\ntext')

    assert head == {"name": "a: b", "description": "one two"}
    assert read_head("no head") == {}
    assert read_head("---\nname: x\n") == {}  # it never ends
