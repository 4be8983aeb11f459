"""The changelog begins with what is not released and knows the version of the program."""

from __future__ import annotations

import re

from localrun import __version__
from tests.docs.blocks import ROOT

TEXT = (ROOT / "localrun" / "docs" / "changelog.md").read_text()
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_versions_descend_from_unreleased_and_the_program_s_is_the_latest() -> None:
    versions = re.findall(r"^## \[(.+?)\]", TEXT, re.MULTILINE)

    assert versions[:2] == ["Unreleased", __version__]
    numbers = [[int(part) for part in version.split(".")] for version in versions[1:]]
    assert numbers == sorted(numbers, reverse=True)


def test_sections_are_those_of_keep_a_changelog() -> None:
    assert set(re.findall(r"^### (.+)$", TEXT, re.MULTILINE)) <= KINDS
