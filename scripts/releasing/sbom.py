"""Software bill of materials of a release, in CycloneDX 1.6.

Its components are the packages of scripts/locks/run.txt and engine.txt, what the binary carries
besides (licenses/packages.json in it), and the Debian packages of the container image. The property
`localrun:in` names what a component is part of. The same commit and binary make the same bytes.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING
from urllib.parse import quote

import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from releasing.checkout import Checkout

JsonObject = dict[str, object]
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
NAMESPACE = uuid.UUID("8d5b0d2e-5f4b-4d63-9a5a-6f3f0a4f7c11")  # of serial numbers of releases
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)[ \t]*(?:;[ \t]*([^\\\n]+))?", re.MULTILINE
)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
SPDX = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")
PACKAGES, BINARY, IMAGE = "packages", "binary", "image"


@dataclass(slots=True, kw_only=True)
class Component:
    """One piece of software in a release."""

    name: str
    version: str
    purl: str
    licence: str = ""
    digests: tuple[str, ...] = ()  # SHA-256 of each file in which it is published
    place: str = ""  # where these are
    marker: str = ""  # of the systems that need it
    parts: set[str] = field(default_factory=set)  # of the release


def sbom(checkout: Checkout, components: Iterable[Component]) -> JsonObject:
    """Return the bill of materials."""
    ordered = sorted(components, key=lambda component: component.purl)
    root = f"pkg:pypi/localrun@{checkout.version}"
    time = dt.datetime.fromtimestamp(checkout.time_s, dt.UTC)
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, checkout.revision)}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "localrun",
                "version": checkout.version,
                "licenses": [{"license": {"id": "MIT"}}],
                "purl": root,
                "properties": [{"name": "localrun:commit", "value": checkout.revision}],
            },
        },
        "components": [_component(component) for component in ordered],
        "dependencies": [
            {"ref": root, "dependsOn": [component.purl for component in ordered]},
        ],
    }


def locked_components(locks: Path = environment.LOCKS) -> dict[str, Component]:
    """Return the packages that localrun needs, by name, with the licences that are known here."""
    components = {}
    for lock in ("run.txt", "engine.txt"):
        text = (locks / lock).read_text()
        matches = list(PIN.finditer(text))
        ends = [match.start() for match in matches[1:]] + [len(text)]
        for match, end in zip(matches, ends, strict=True):
            name, version = match[1], match[2]
            components[_canonical(name)] = Component(
                name=name,
                version=version,
                purl=f"pkg:pypi/{_canonical(name)}@{quote(version)}",
                licence=_licence_here(name, version),
                digests=tuple(HASH.findall(text[match.start() : end])),
                place=f"https://pypi.org/project/{_canonical(name)}/{version}/",
                marker=(match[3] or "").strip(),
                parts={PACKAGES},
            )
    return components


def add_binary(components: dict[str, Component], rows: Iterable[Mapping[str, str]]) -> None:
    """Note what the binary carries: the rows of its licenses/packages.json.

    A library may be in it twice: one of Debian, and one in a wheel.
    """
    for row in rows:
        key = _canonical(row["name"])
        purl = f"pkg:generic/{quote(key)}@{quote(row['version'])}"
        if key == "localrun":
            continue
        if key not in components:
            key = f"{key} {row['version']}"
        component = components.setdefault(
            key, Component(name=row["name"], version=row["version"], purl=purl)
        )
        component.licence = component.licence or row["license"]
        component.digests = component.digests or tuple(filter(None, [row["sha256"]]))
        component.parts.add(BINARY)


def add_image(
    components: dict[str, Component], packages: Mapping[str, Mapping[str, str]], arch: str
) -> None:
    """Note the Debian packages of the container image: those of its lock file."""
    for name, package in packages.items():
        purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(package['version'])}?arch={arch}"
        components[f"debian {name} {arch}"] = Component(
            name=name,
            version=package["version"],
            purl=purl,
            digests=(package["sha256"],),
            place=f"https://deb.debian.org/debian/{package['filename']}",
            parts={IMAGE},
        )


def write_sbom(document: JsonObject, path: Path) -> None:
    """Write the document with sorted keys."""
    path.write_text(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _component(component: Component) -> JsonObject:
    value: JsonObject = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
        "properties": [
            *({"name": "localrun:in", "value": part} for part in sorted(component.parts)),
            *([{"name": "localrun:marker", "value": component.marker}] if component.marker else []),
        ],
    }
    if component.licence:
        value["licenses"] = [_licence(component.licence)]
    hashes = [{"alg": "SHA-256", "content": digest} for digest in component.digests]
    if component.place:
        value["externalReferences"] = [
            {"type": "distribution", "url": component.place, "hashes": hashes}
        ]
    elif hashes:
        value["hashes"] = hashes
    return value


def _licence(text: str) -> JsonObject:
    """Return a licence as an SPDX expression if its text is one, else as a name."""
    is_expression = SPDX.fullmatch(text) and ("-" in text or text in {"MIT", "Zlib", "X11", "ISC"})
    return {"expression": text} if is_expression else {"license": {"name": text}}


def _licence_here(name: str, version: str) -> str:
    """Return the licence of a package if the same version is installed here."""
    try:
        head = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    if head["Version"] != version:
        return ""
    licence = head.get("License-Expression") or head.get("License") or ""
    return licence.partition("\n")[0].strip()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
