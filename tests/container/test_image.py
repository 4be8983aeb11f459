"""The image: its files, its config, and its bytes, from packages and programs made here."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import environment
import pytest
from container import debian
from container.__main__ import main
from container.build import Image, build_image, current_origin, image_name
from container.config import VARIANTS, Origin, Variant
from container.rootfs import Program, read_program, system_entries
from packing.payload import HEAD, MAGIC, ending

import localrun
from localrun.settings import DEFAULT_PORT, load_settings
from tests.container.containers import unpack
from tests.container.fake_packages import FOLDER, system_packages
from tests.fakes.elf_files import elf_file

ORIGIN = Origin(version="1.2.3", revision="abc", time_s=1_700_000_000, source="https://x.example")
CPU = VARIANTS["cpu"]


DIGEST = hashlib.sha256(b"payload").digest()
KEY = DIGEST.hex()[:32]
# stands for the launcher: unpacks into the folder that the real one would take
LAUNCHER = b"""#!/bin/sh
cp -R "${0%/*}/tree" "$LOCALRUN_UNPACK/@KEY@"
exit
""".replace(b"@KEY@", KEY.encode())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return the folder of what the binary beside it unpacks."""
    folder = tmp_path / "binary" / "tree"
    (folder / "lib").mkdir(parents=True)
    (folder / "python").write_bytes(
        elf_file(("libm.so.6", "libown.so"), interpreter="/lib64/ld.so")
    )
    (folder / "python").chmod(0o700)
    end = ending(b"facts\0", len(LAUNCHER), 7, 9, DIGEST)
    (folder.parent / "localrun").write_bytes(LAUNCHER + b"payload" + end)
    (folder.parent / "localrun").chmod(0o755)
    (folder / "lib" / "libown.so.1").write_bytes(elf_file(("libc.so.6",), soname="libown.so"))
    (folder / "lib" / "libown.so").symlink_to("libown.so.1")
    (folder / "lib" / "text").write_text("text")
    return folder


def build(tree: Path, output: Path, variant: Variant = CPU, **packages: dict[str, bytes]) -> Image:
    with tempfile.TemporaryDirectory() as scratch:
        program = read_program(tree.parent / "localrun", Path(scratch))
        return build_image(program, output, variant, ORIGIN, system_packages(**packages))


def read(tree: Path) -> Program:
    with tempfile.TemporaryDirectory() as scratch:
        return read_program(tree.parent / "localrun", Path(scratch))


def test_the_image_has_the_program_the_libraries_that_it_needs_and_nothing_else(
    tree: Path, tmp_path: Path
) -> None:
    unneeded = {f"{FOLDER}/libunneeded.so.1": elf_file(), "usr/bin/sh": elf_file()}

    build(tree, tmp_path / "image", more=unneeded)

    image = unpack(tmp_path / "image", tmp_path / "unpacked")
    names = {path.relative_to(image.root).as_posix() for path in image.root.rglob("*")}
    own = f"opt/localrun/{KEY}"
    assert {f"{own}/lib/text", f"{own}/lib/libown.so", f"{FOLDER}/libm.so.6"} <= names
    assert (image.root / "lib64/ld-linux-x86-64.so.2").read_bytes() == elf_file()
    assert (image.root / "etc/ssl/certs/ca-certificates.crt").read_text() == "A\nB\n"
    assert not {f"{FOLDER}/libunneeded.so.1", "usr/bin/sh", "var/lib/dpkg/status.d/more"} & names


def test_the_launcher_is_without_what_is_unpacked_already(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path / "image")

    image = unpack(tmp_path / "image", tmp_path / "unpacked")
    launcher = (image.root / "usr/bin/localrun").read_bytes()
    facts = b"facts\0" + HEAD.pack(MAGIC, len(LAUNCHER), 0, 9, 6, DIGEST)
    assert launcher == LAUNCHER + facts + hashlib.sha256(facts).digest()
    assert "LOCALRUN_UNPACK=/opt/localrun" in image.config["config"]["Env"]


def test_licences_and_versions_of_the_packages_are_in_the_image(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path / "image")

    root = unpack(tmp_path / "image", tmp_path / "unpacked").root
    assert (root / "usr/share/doc/libgcc-s1/copyright").read_text() == "GPL"
    assert (root / "usr/share/common-licenses/GPL-3").exists()
    assert (root / "var/lib/dpkg/status.d/libc6").read_text() == "Package: libc6\n"


def test_the_server_runs_as_a_user_who_owns_only_the_volume(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path / "image")

    with tarfile.open(_layers(tmp_path / "image")[0]) as tar:
        owners = {member.name: member.uid for member in tar}
        modes = {member.name: member.mode for member in tar}
    config = _config(tmp_path / "image")["config"]
    assert config["User"] == "10001:10001"
    assert {name for name, owner in owners.items() if owner} == {"models"}
    assert owners["models"] == 10001
    assert modes["tmp"] == 0o1777
    assert config["Volumes"] == {"/models": {}}


def test_the_config_is_one_that_the_server_understands(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path / "image")

    config = _config(tmp_path / "image")
    environ = dict(variable.split("=", 1) for variable in config["config"]["Env"])
    settings = load_settings(environ)
    assert (settings.host, settings.port) == ("0.0.0.0", DEFAULT_PORT)  # noqa: S104 - in a container
    assert settings.models_dir == Path("/models")
    assert settings.prompts_dir.is_relative_to("/models")
    assert list(config["config"]["ExposedPorts"]) == [f"{DEFAULT_PORT}/tcp"]
    assert config["config"]["Healthcheck"]["Test"] == ["CMD", "/usr/bin/localrun", "health"]
    assert not settings.access.has_key, "a key in an image is known to all"


def test_labels_name_version_commit_and_source(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path / "image")

    labels = _config(tmp_path / "image")["config"]["Labels"]
    prefix = "org.opencontainers.image"
    assert labels[f"{prefix}.version"] == "1.2.3"
    assert labels[f"{prefix}.revision"] == "abc"
    assert labels[f"{prefix}.source"] == "https://x.example"
    assert labels[f"{prefix}.created"] == "2023-11-14T22:13:20Z"


def test_the_same_program_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    copied = tmp_path / "elsewhere" / "tree"
    shutil.copytree(tree.parent, copied.parent, symlinks=True)
    (copied / "lib" / "text").chmod(0o600)

    build(tree, tmp_path / "1.tar")
    build(copied, tmp_path / "2.tar")
    build(tree, tmp_path / "folder")

    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as tar:
        packed = {member.name for member in tar if member.isfile()}
    files = {path for path in (tmp_path / "folder").rglob("*") if path.is_file()}
    assert packed == {path.relative_to(tmp_path / "folder").as_posix() for path in files}


def test_every_blob_has_the_digest_that_is_its_name(tree: Path, tmp_path: Path) -> None:
    image = build(tree, tmp_path / "image")

    blobs = list((tmp_path / "image" / "blobs" / "sha256").iterdir())
    assert len(blobs) == 4
    assert all(hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name for blob in blobs)
    (named,) = json.loads((tmp_path / "image" / "index.json").read_text())["manifests"]
    assert named["digest"] == image.digest


def test_skopeo_reads_the_image(tree: Path, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("there is no skopeo")
    build(tree, tmp_path / "image")
    build(tree, tmp_path / "image.tar")

    for source in ("oci:{}/image", "oci-archive:{}/image.tar", "docker-archive:{}/image.tar"):
        target = f"dir:{tmp_path}/{source.partition(':')[0]}"
        command = [skopeo, "--insecure-policy", "copy", "--quiet", source.format(tmp_path), target]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_library_that_nobody_has_is_named(tree: Path) -> None:
    (tree / "lib" / "libmore.so").write_bytes(elf_file(("libmissing.so.3",)))
    program = read(tree)

    with pytest.raises(environment.SetupError, match=r"lib/libmore\.so needs libmissing\.so\.3"):
        system_entries(program, CPU, system_packages())


def test_libraries_of_the_driver_come_from_the_host(tree: Path) -> None:
    (tree / "lib" / "libmore.so").write_bytes(elf_file(("libcuda.so.1",)))

    entries = system_entries(read(tree), CPU, system_packages())

    assert not [entry for entry in entries if "libcuda" in entry.path]


def test_a_variant_adds_what_it_opens_at_run_time(tree: Path, tmp_path: Path) -> None:
    driver = {
        f"{FOLDER}/libvulkan.so.1": elf_file(("libz.so.1",)),
        f"{FOLDER}/libz.so.1": elf_file(),
    }
    gpu = Variant(name="gpu", libraries=("libvulkan.so.1",), environment=(("A", "b"),))

    image = build(tree, tmp_path / "image", gpu, libvulkan1=driver)

    root = unpack(tmp_path / "image", tmp_path / "unpacked").root
    assert (root / FOLDER / "libz.so.1").exists()
    assert "A=b" in _config(tmp_path / "image")["config"]["Env"]
    assert image.name == "localrun:1.2.3-gpu"
    assert image_name("1.2.3", VARIANTS["vulkan"]) == "localrun:1.2.3"


def test_modules_of_other_backends_are_left_out(tree: Path, tmp_path: Path) -> None:
    (tree / "lib" / "libggml-vulkan.so").write_bytes(elf_file(("libvulkan.so.1",)))
    binary = tree.parent / "localrun"

    program = read_program(binary, tmp_path, CPU.without)

    assert system_entries(program, CPU, system_packages())
    assert not [entry for entry in program.entries if "vulkan" in entry.path]


def test_a_backend_and_its_libraries_are_put_where_it_looks(tree: Path, tmp_path: Path) -> None:
    engine = tree / "site-packages" / "llama_cpp" / "lib"
    engine.mkdir(parents=True)
    (engine / "libggml-base.so.0").write_bytes(elf_file())
    files = {
        "cuda.zip": {"manifest.json": b"{}", "libggml-cuda.so": elf_file(("libcuda.so.1",))},
        "cublas.whl": {"nvidia/cu13/lib/libcublas.so.13": elf_file(), "nvidia/cu13/LICENSE": b""},
    }
    for name, members in files.items():
        with zipfile.ZipFile(tmp_path / name, "w") as package:
            for member, content in members.items():
                package.writestr(member, content)

    packages = [tmp_path / name for name in files]
    program = read_program(tree.parent / "localrun", tmp_path, frozenset(), packages)

    site = f"opt/localrun/{KEY}/site-packages"
    paths = {entry.path for entry in program.entries}
    assert f"{site}/llama_cpp/lib/libggml-cuda.so" in paths
    assert f"{site}/nvidia/cu13/lib/libcublas.so.13" in paths
    assert not [path for path in paths if "manifest" in path]
    with pytest.raises(environment.SetupError, match="build-backend cuda"):
        main([str(tree.parent / "localrun"), "--variant", "cuda"])


def test_a_program_is_for_one_machine(tree: Path, tmp_path: Path) -> None:
    (tree / "lib" / "libother.so").write_bytes(elf_file(machine=183))
    (tmp_path / "script").write_text("#!/bin/sh\n")

    with pytest.raises(environment.SetupError, match="amd64, arm64"):
        read(tree)
    with pytest.raises(environment.SetupError, match="none"):
        read_program(tmp_path / "script", tmp_path)


def test_a_binary_for_another_processor_is_refused(tree: Path, tmp_path: Path) -> None:
    (tree.parent / "localrun").chmod(0o644)

    with pytest.raises(environment.SetupError, match="does not run here"):
        read_program(tree.parent / "localrun", tmp_path)


def test_an_image_replaces_an_image_and_nothing_else(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one").touch()
    build(tree, tmp_path / "image")

    build(tree, tmp_path / "image")
    with pytest.raises(environment.SetupError, match="no image"):
        build(tree, tmp_path / "photos")

    assert (tmp_path / "photos" / "one").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"image", "photos", "binary"}


def test_version_and_time_come_from_the_checkout() -> None:
    assert current_origin(None).version == localrun.__version__
    assert current_origin(None, {"SOURCE_DATE_EPOCH": "5"}).time_s == 5


def test_every_package_of_the_images_is_locked() -> None:
    for architecture in ("amd64", "arm64"):
        for variant in VARIANTS.values():
            names = (*debian.BASE, *variant.packages)
            locked = debian.locked_packages(architecture, names)
            assert all(len(package.sha256) == 64 for package in locked)


def _config(layout: Path) -> dict[str, Any]:
    manifest = _manifest(layout)
    config: dict[str, Any] = json.loads(_blob(layout, manifest["config"]).read_text())
    return config


def _layers(layout: Path) -> list[Path]:
    return [_blob(layout, layer) for layer in _manifest(layout)["layers"]]


def _manifest(layout: Path) -> dict[str, Any]:
    (named,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest: dict[str, Any] = json.loads(_blob(layout, named).read_text())
    return manifest


def _blob(layout: Path, descriptor: dict[str, str]) -> Path:
    return layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")
