"""The bill of materials: complete, in CycloneDX 1.6, and the same for the same commit."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import environment
import pytest
from releasing.checkout import Checkout
from releasing.sbom import add_binary, add_image, locked_components, sbom, write_sbom

CHECKOUT = Checkout(Path(), "1.2.3", "a" * 40, 1_700_000_000)
LOCK = f"""\
fastapi[standard]==0.130 \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{"2" * 64}
uvloop==0.22 ; sys_platform != 'win32' \\
    --hash=sha256:{"3" * 64}
"""
ENGINE = "llama-cpp-python==0.3.36 --hash=sha256:" + "4" * 64 + "\n"
ROWS = (
    {"name": "CPython", "version": "3.13.5", "license": "PSF-2.0", "sha256": "5" * 64},
    {"name": "FastAPI", "version": "0.130", "license": "MIT", "sha256": ""},
    {"name": "localrun", "version": "1.2.3", "license": "MIT", "sha256": ""},
)


def document(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "run.txt").write_text(LOCK)
    (tmp_path / "engine.txt").write_text(ENGINE)
    components = locked_components(tmp_path)
    add_binary(components, ROWS)
    debian = {"version": "2.41-12+deb13u4", "sha256": "6" * 64, "filename": "pool/libc6.deb"}
    add_image(components, {"libc6": debian}, "amd64")
    value: dict[str, Any] = json.loads(json.dumps(sbom(CHECKOUT, components.values())))
    return value


def test_each_component_has_version_origin_and_digests(tmp_path: Path) -> None:
    found = {component["name"]: component for component in document(tmp_path)["components"]}

    assert set(found) == {"fastapi", "uvloop", "llama-cpp-python", "CPython", "libc6"}
    published = found["fastapi"]["externalReferences"][0]
    assert [each["content"] for each in published["hashes"]] == ["1" * 64, "2" * 64]
    assert found["uvloop"]["purl"] == "pkg:pypi/uvloop@0.22"
    assert {"name": "localrun:marker", "value": "sys_platform != 'win32'"} in found["uvloop"][
        "properties"
    ]
    assert found["CPython"]["hashes"] == [{"alg": "SHA-256", "content": "5" * 64}]
    assert found["CPython"]["licenses"] == [{"expression": "PSF-2.0"}]
    assert found["libc6"]["purl"] == "pkg:deb/debian/libc6@2.41-12%2Bdeb13u4?arch=amd64"


def test_a_component_says_what_it_is_part_of(tmp_path: Path) -> None:
    parts = {
        component["name"]: [
            p["value"] for p in component["properties"] if p["name"] == "localrun:in"
        ]
        for component in document(tmp_path)["components"]
    }

    assert parts["fastapi"] == ["binary", "packages"]
    assert parts["CPython"] == ["binary"]
    assert parts["libc6"] == ["image"]


def test_a_library_that_is_there_twice_is_listed_twice() -> None:
    twins = [
        {"name": "liblzma", "version": version, "license": "0BSD", "sha256": ""}
        for version in ("Debian 11", "pillow 13.0.0")
    ]
    components = locked_components()

    add_binary(components, twins)

    listed = [each.purl for each in components.values() if each.name == "liblzma"]
    assert listed == ["pkg:generic/liblzma@Debian%2011", "pkg:generic/liblzma@pillow%2013.0.0"]


def test_the_document_is_that_of_the_commit(tmp_path: Path) -> None:
    first, second = document(tmp_path), document(tmp_path)

    assert first == second
    assert first["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert first["metadata"]["component"]["version"] == "1.2.3"
    references = [component["bom-ref"] for component in first["components"]]
    assert len(set(references)) == len(references)


def test_every_dependency_of_the_package_is_listed() -> None:
    project = tomllib.loads((environment.ROOT / "pyproject.toml").read_text())["project"]
    wanted = {_name(text) for text in project["dependencies"]}

    components = locked_components()

    assert wanted <= components.keys()
    assert all(component.digests for component in components.values())


@pytest.mark.parametrize("source", ["made up", "this checkout"])
def test_the_document_follows_the_schema(tmp_path: Path, source: str) -> None:
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="scripts/check installs the schema"
    )
    schema = pytest.importorskip("cyclonedx.schema")
    value = document(tmp_path)
    if source == "this checkout":
        components = locked_components()
        image = json.loads((environment.LOCKS / "image" / "trixie.json").read_text())
        add_image(components, image["packages"]["arm64"], "arm64")
        value = dict(sbom(CHECKOUT, components.values()))

    write_sbom(value, tmp_path / "sbom.json")

    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    text = (tmp_path / "sbom.json").read_text()
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"SHA-256"', '"SHA-1000"')) is not None


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[>=<;! ]", requirement)[0]).lower()
