"""The catalog of bare model names."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.errors import UsageError
from localrun.names.parse import parse_name
from localrun.registry.catalog import Catalog, load_catalog

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "format_version = 1\n"
FAMILY = '[house]\nabout = "House: our own"\nlicence = "MIT"\ndefault = "1b"\n'
SIZE_FIELDS = {
    "tag": '"1b"',
    "huggingface": '"team/house-1b-GGUF"',
    "quantization": '"Q4_K_M"',
    "size": '"1.5 GB"',
}
QUANTIZATION = re.compile(r"I?Q[2-8](_[0-9KLMSX]+)*|MXFP4|B?F16|F32")


@pytest.fixture(scope="module")
def packaged() -> Catalog:
    return load_catalog()


def size_of(family: str, **fields: str) -> str:
    lines = [f"{name} = {value}" for name, value in (SIZE_FIELDS | fields).items() if value]
    return "\n".join([f"[[{family}.sizes]]", *lines, ""])


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_package_knows_at_least_forty_families(packaged: Catalog) -> None:
    assert len({entry.name for entry in packaged.entries()}) >= 40


def test_every_packaged_entry_is_plausible(packaged: Catalog) -> None:
    for entry in packaged.entries():
        repos = [entry.huggingface, *([entry.modelscope] if entry.modelscope else [])]

        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", repo) for repo in repos), entry
        assert QUANTIZATION.fullmatch(entry.quantization), entry
        assert 10**6 <= entry.size_bytes <= 500 * 10**9, entry
        assert len(entry.about) <= 80, entry


def test_a_file_is_about_as_large_as_its_tag_and_quantization_say(packaged: Catalog) -> None:
    bits = {"Q4_K_M": (4.0, 9.0), "Q8_0": (5.0, 11.0)}  # of those that see, a part is elsewhere
    for entry in packaged.entries():
        billions = re.fullmatch(r"(\d+(?:\.\d+)?)(b|m)", entry.tag)
        if billions is None or entry.quantization not in bits:
            continue
        weights = float(billions[1]) * (10**9 if billions[2] == "b" else 10**6)
        least, most = bits[entry.quantization]

        assert least <= entry.size_bytes * 8 / weights <= most, entry


def test_every_packaged_name_is_a_model_name_that_is_found(packaged: Catalog) -> None:
    for entry in packaged.entries():
        ref = parse_name(f"{entry.name}:{entry.tag}")

        assert packaged.find(ref.model, ref.tag) == entry
        assert packaged.find(ref.model, None) is not None


def test_no_tag_and_latest_mean_the_default_size(packaged: Catalog) -> None:
    default = packaged.find("qwen3", "8b")

    assert default is not None
    assert packaged.find("qwen3", None) == default
    assert packaged.find("qwen3", "latest") == default
    assert packaged.find("qwen3", "LATEST") == default


def test_case_makes_no_difference(packaged: Catalog) -> None:
    assert packaged.find("Qwen3", "0.6B") == packaged.find("qwen3", "0.6b") is not None
    assert packaged.sizes("QWEN3") == packaged.sizes("qwen3")


def test_an_unknown_name_is_not_found(packaged: Catalog) -> None:
    assert packaged.find("nothing", None) is None
    assert packaged.find("qwen3", "999b") is None
    assert packaged.sizes("nothing") == []


def test_sizes_come_smallest_first(packaged: Catalog) -> None:
    tags = [entry.tag for entry in packaged.sizes("qwen3")]

    assert tags == ["0.6b", "1.7b", "4b", "8b", "14b", "30b", "32b"]


@pytest.mark.parametrize(
    ("text", "name"),
    [("qwn3", "qwen3:8b"), ("qwn3:latest", "qwen3:8b"), ("qwen3:0.7b", "qwen3:0.6b"),
     ("LLAMA3.2:3", "llama3.2:3b"), ("smolm2", "smollm2:1.7b")],
)  # fmt: skip
def test_a_slip_has_near_names(packaged: Catalog, text: str, name: str) -> None:
    near = packaged.near(text)

    assert name in near
    assert len(near) == len(set(near)) <= 3


def test_what_is_like_nothing_has_no_near_names(packaged: Catalog) -> None:
    assert packaged.near("xxxxxxxxxxxx") == []


def test_a_file_adds_a_family(tmp_path: Path) -> None:
    text = HEADER + FAMILY + size_of("house", modelscope='"team/mirror"')

    entry = load_catalog([write(tmp_path, text)]).find("house", None)

    assert entry is not None
    assert (entry.name, entry.tag, entry.about) == ("house", "1b", "House: our own")
    assert (entry.licence, entry.quantization) == ("MIT", "Q4_K_M")
    assert (entry.huggingface, entry.modelscope) == ("team/house-1b-GGUF", "team/mirror")
    assert entry.size_bytes == 1_500_000_000


def test_a_file_of_sizes_only_joins_a_known_family(tmp_path: Path, packaged: Catalog) -> None:
    catalog = load_catalog([write(tmp_path, HEADER + size_of("Qwen3", tag='"0.6B-ours"'))])

    ours, theirs = catalog.find("qwen3", "0.6b-ours"), packaged.find("qwen3", "8b")
    assert ours is not None
    assert theirs is not None
    assert (ours.name, ours.about, ours.modelscope) == ("qwen3", theirs.about, None)
    assert catalog.find("qwen3", None) == theirs
    assert len(catalog.sizes("qwen3")) == len(packaged.sizes("qwen3")) + 1


def test_the_last_file_wins_size_by_size(tmp_path: Path, packaged: Catalog) -> None:
    first = write(tmp_path, HEADER + size_of("qwen3", huggingface='"a/one"'), "1.toml")
    second = write(tmp_path, HEADER + size_of("qwen3", huggingface='"a/two"'), "2.toml")

    catalog = load_catalog([first, second])

    entry = catalog.find("qwen3", "1b")
    assert entry is not None
    assert entry.huggingface == "a/two"
    assert catalog.find("qwen3", "4b") == packaged.find("qwen3", "4b")


def test_a_file_may_change_only_the_default(tmp_path: Path, packaged: Catalog) -> None:
    path = write(tmp_path, HEADER + '[qwen3]\ndefault = "0.6B"\nlicence = "ours"\n')

    entry = load_catalog([path]).find("qwen3", None)

    small = packaged.find("qwen3", "0.6b")
    assert entry is not None
    assert small is not None
    assert entry.licence == "ours"
    assert (entry.tag, entry.about) == (small.tag, small.about)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["format_version", "must be 1", "missing"]),
        ("format_version = 2\n", ["format_version", "must be 1"]),
        ("format_version = true\n", ["format_version"]),
        ('format_version = "1"\n', ["format_version"]),
        ("format_version = \n", ["not TOML", "line 1"]),
        (HEADER + "house = 3\n", ["house", "table"]),
        (HEADER + '["a b"]\nabout = "x"\n', ["a b", "name"]),
        (HEADER + FAMILY, ["family house", "default", "'1b'"]),
        (HEADER + FAMILY.replace("MIT", " ") + size_of("house"), ["family house", "licence"]),
        (HEADER + FAMILY.replace('"MIT"', "3") + size_of("house"), ["house", "licence", "text"]),
        (HEADER + '[qwen3]\ndefault = "999b"\n', ["family qwen3", "default", "'999b'"]),
        (HEADER + "[qwen3]\nabout = 3\n", ["family qwen3", "about", "text"]),
        (HEADER + FAMILY + "sizes = 3\n", ["family house", "sizes", "tables"]),
        (HEADER + FAMILY + "sizes = [3]\n", ["family house", "sizes", "tables"]),
    ],
)
def test_a_wrong_file_is_refused_with_file_family_and_field(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = write(tmp_path, text)

    with pytest.raises(UsageError) as caught:
        load_catalog([path])

    assert all(word in caught.value.message for word in [str(path), *words])
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("field", ["about", "licence", "default"])
def test_a_new_family_needs_every_field(tmp_path: Path, field: str) -> None:
    family = "".join(
        line for line in FAMILY.splitlines(keepends=True) if not line.startswith(field)
    )

    with pytest.raises(UsageError, match=f"family house: {field} must be text, and it is missing"):
        load_catalog([write(tmp_path, HEADER + family + size_of("house"))])


@pytest.mark.parametrize("field", list(SIZE_FIELDS))
@pytest.mark.parametrize("value", ["", "3", '""', '"a b c"', '"../x"', '"1.5 gb"', '"x/y/z"'])
def test_a_size_needs_every_field_in_its_form(tmp_path: Path, field: str, value: str) -> None:
    text = HEADER + FAMILY + size_of("house") + size_of("house", **{field: value})

    with pytest.raises(UsageError, match=f"family house, size 2: {field} must ") as caught:
        load_catalog([write(tmp_path, text)])

    assert caught.value.param == field
    assert caught.value.hint


@pytest.mark.parametrize("value", ["3", '""', '"no-owner"'])
def test_a_mirror_is_a_repository_or_left_out(tmp_path: Path, value: str) -> None:
    text = HEADER + FAMILY + size_of("house", modelscope=value)

    with pytest.raises(UsageError, match="size 1: modelscope must "):
        load_catalog([write(tmp_path, text)])


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml: No such file"):
        load_catalog([tmp_path / "absent.toml"])


def test_a_file_that_is_not_text_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(UsageError, match=r"mine\.toml: it is not UTF-8"):
        load_catalog([path])


def test_the_registry_knows_neither_store_nor_engine_nor_chat() -> None:
    code = "import sys, localrun.registry.catalog; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    parts = {name.split(".")[1] for name in done.stdout.split() if name.startswith("localrun.")}
    assert parts == {"addresses", "errors", "names", "registry"}


def test_every_packaged_draft_model_is_known_and_much_smaller(packaged: Catalog) -> None:
    drafts = {entry: packaged.draft_of(entry) for entry in packaged.entries()}

    drafted = {f"{entry.name}:{entry.tag}" for entry, draft in drafts.items() if draft}
    assert {"qwen3:8b", "qwen2.5:7b", "llama3.3:70b", "deepseek-r1:14b"} <= drafted
    assert "qwen3:0.6b" not in drafted
    for entry in packaged.entries():
        if entry.draft:
            assert drafts[entry] is not None, entry


def test_a_draft_model_of_a_size_comes_before_that_of_its_family(tmp_path: Path) -> None:
    family = FAMILY + 'draft = "house:1b"\n'
    sizes = size_of("house") + size_of("house", tag='"2b"', draft='"qwen3:0.6b"')
    catalog = load_catalog(
        [write(tmp_path, HEADER + family + sizes + size_of("house", tag='"3b"'))]
    )

    found = {entry.tag: catalog.draft_of(entry) for entry in catalog.sizes("house")}

    assert found["1b"] is None  # itself
    assert found["2b"] == catalog.find("qwen3", "0.6b")
    assert found["3b"] == catalog.find("house", "1b")


def test_a_later_file_may_add_a_draft_model_to_a_family(tmp_path: Path) -> None:
    first = write(tmp_path, HEADER + FAMILY + size_of("house"))
    later = write(tmp_path, HEADER + '[house]\ndraft = "qwen3:0.6b"\n', "later.toml")
    catalog = load_catalog([first, later])

    entry = catalog.find("house", "1b")

    assert entry is not None
    assert catalog.draft_of(entry) == catalog.find("qwen3", "0.6b")


@pytest.mark.parametrize("draft", ["house", "a/b:1b", "house:", 'x"'])
def test_a_draft_model_must_be_a_name_with_a_tag(tmp_path: Path, draft: str) -> None:
    text = HEADER + FAMILY + f"draft = '{draft}'\n" + size_of("house")

    with pytest.raises(UsageError, match="draft must look like"):
        load_catalog([write(tmp_path, text)])


def test_an_entry_is_found_by_its_repository_or_mirror(tmp_path: Path) -> None:
    mirror = size_of("house", modelscope='"Mirror/House-GGUF"')
    catalog = load_catalog([write(tmp_path, HEADER + FAMILY + mirror)])

    assert catalog.find_repository("Team/house-1B-gguf") == catalog.find("house", "1b")
    assert catalog.find_repository("mirror/house-gguf") == catalog.find("house", "1b")
    assert catalog.find_repository("team/other") is None
