"""Recorded files and structures: the machines themselves are not at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.hardware import cards
from localrun.hardware.cards import (
    amd_cards,
    may_have_gpu,
    nvidia_cards,
    pci_address,
    pci_cards,
    vulkan_card,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("named", "may"), [("0", True), ("0,0", True), ("", False), (None, False)])
def test_named_devices_may_exist_although_the_kernel_shows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None, *, may: bool
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(cards, "WSL", tmp_path / "dxg")
    monkeypatch.setattr(cards, "RENDERERS", tmp_path)
    monkeypatch.setattr(cards, "pci_cards", list)
    monkeypatch.setattr(cards, "amd_cards", list)

    assert may_have_gpu({} if named is None else {"GGML_VK_VISIBLE_DEVICES": named}) is may


@pytest.mark.parametrize(
    ("node", "may"),
    [("nvidia0", True), ("nvhost-gpu", True), ("nvidiactl", False), ("null", False)],
)
def test_the_node_of_a_driver_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str, *, may: bool
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(cards, "WSL", tmp_path / "dxg")
    monkeypatch.setattr(cards, "RENDERERS", tmp_path / "dri")
    monkeypatch.setattr(cards, "DRIVERS", tmp_path)
    monkeypatch.setattr(cards, "pci_cards", list)
    monkeypatch.setattr(cards, "amd_cards", list)
    (tmp_path / node).touch()

    assert may_have_gpu({}) is may


def test_the_bus_shows_cards_with_and_without_a_driver(tmp_path: Path) -> None:
    for address, vendor, kind in (
        ("0000:C1:00.0", "0x10de", "0x030200"),
        ("0000:00:02.0", "0x8086", "0x030000"),
        ("0000:00:03.0", "0x1af4", "0x030000"),  # a virtual machine's own
        ("0000:00:1f.0", "0x8086", "0x060100"),  # no graphics
    ):
        (tmp_path / address).mkdir()
        (tmp_path / address / "vendor").write_text(f"{vendor}\n")
        (tmp_path / address / "class").write_text(f"{kind}\n")
    (tmp_path / "0000:00:02.0" / "driver").mkdir()

    found = pci_cards(tmp_path)

    assert [(one.maker, one.unit_id, one.has_driver) for one in found] == [
        ("Intel", "0000:00:02.0", True),
        ("NVIDIA", "0000:c1:00.0", False),
    ]


def test_the_nodes_of_kfd_are_cards_where_they_have_compute_units(tmp_path: Path) -> None:
    for node, text in (
        ("0", "simd_count 0\n"),
        ("1", "simd_count 192\nlocation_id 768\ndomain 0\n"),
    ):
        (tmp_path / node).mkdir()
        (tmp_path / node / "properties").write_text(text)
    (tmp_path / "1" / "name").write_text("gfx1100\n")
    (tmp_path / "version").write_text("6.8.5\n")

    (found,) = amd_cards(tmp_path, tmp_path / "version")

    assert (found.name, found.unit_id, found.driver) == ("gfx1100", "0000:03:00.0", "6.8.5")


@pytest.mark.parametrize(
    ("vendor", "kind", "expected"),
    [
        (0x10DE, 2, "NVIDIA"),
        (0x8086, 1, "Intel"),
        (0x13B5, 2, ""),
        (0x10005, 4, None),
        (0, 99, None),
    ],
)
def test_vulkan_shows_cards_and_leaves_out_processors(
    vendor: int, kind: int, expected: str | None
) -> None:
    properties = bytearray(2048)
    properties[8:12], properties[16:20] = vendor.to_bytes(4, "little"), kind.to_bytes(4, "little")
    properties[20:27] = b"A card\0"

    found = vulkan_card(bytes(properties))

    assert (found and found.maker) == expected
    assert found is None or found.name == "A card"


def test_the_program_of_the_driver_answers_where_the_library_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "NVIDIA L4, 00000000:C1:00.0, 580.65"\necho broken\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("localrun.hardware.cards._library", lambda *_: None)

    (found,) = nvidia_cards()

    assert (found.name, found.unit_id, found.driver) == ("NVIDIA L4", "0000:c1:00.0", "580.65")


def test_addresses_are_written_as_the_kernel_writes_them() -> None:
    assert pci_address("00000000:C1:00.0") == "0000:c1:00.0"
    assert pci_address("nonsense") is None
