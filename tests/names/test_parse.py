"""Names of models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import ModelNameError
from localrun.names.parse import DEFAULT_NAMESPACES, PREFIXES, SAME_HOSTS, parse_name
from localrun.names.ref import HUBS, ModelRef, ModelSource, looks_like_host

parts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", fullmatch=True)
namespaces = parts.filter(lambda text: not looks_like_host(text))
hosts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}(:[0-9]{1,5})?", fullmatch=True).filter(
    lambda text: text not in SAME_HOSTS and text not in HUBS and text not in DEFAULT_NAMESPACES
)
digests = st.none() | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
models = parts.filter(lambda text: text.lower() not in PREFIXES and not text.endswith(".gguf"))
local = st.builds(
    ModelRef, model=models, tag=parts, namespace=st.none() | namespaces, digest=digests
)
in_registries = st.builds(
    ModelRef,
    model=parts,
    tag=parts,
    namespace=st.none() | st.lists(parts, min_size=1, max_size=3).map("/".join),
    host=hosts,
    digest=digests,
)
in_hubs = st.builds(
    ModelRef,
    model=parts,
    tag=parts,
    namespace=parts,
    host=st.sampled_from(sorted(HUBS)),
    revision=st.none() | parts,
    digest=digests,
)
files_in_hubs = st.builds(
    ModelRef,
    model=parts,
    namespace=parts,
    host=st.sampled_from(sorted(HUBS)),
    file=st.lists(parts, min_size=1, max_size=3).map("/".join),
    revision=st.none() | parts,
)
refs = local | in_registries | in_hubs | files_in_hubs


@given(refs)
def test_a_name_read_back_from_its_text_is_the_same(ref: ModelRef) -> None:
    assert parse_name(str(ref)) == ref


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_a_named_error(text: str) -> None:
    try:
        ref = parse_name(text)
    except ModelNameError:
        return

    assert parse_name(str(ref)) == ref


def test_a_missing_tag_means_latest() -> None:
    assert str(parse_name("guide")) == "guide:latest"
    assert parse_name("guide") == parse_name("guide:latest")


def test_all_parts_are_found() -> None:
    assert parse_name("registry.example:5000/someone/qwen3:0.6b") == ModelRef(
        host="registry.example:5000", namespace="someone", model="qwen3", tag="0.6b"
    )


@pytest.mark.parametrize(
    "text",
    ["", ":", "guide:", ":tag", "a/", "a//b", "gui de", "-x", "a:b:c", "guide\n", "x" * 129,
     "h:123456/n/m", "hf", "hf:model", "hf:a/b/../c.gguf", "a@main", "hf:a/b@", "https://", "http://[",
     "https://host/x.gguf#md5=1", "a:b@sha256:12", "./x\0", "oci://", "ollama:",
     "hf:a/b/c d?.gguf"],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ModelNameError) as caught:
        parse_name(text)

    assert caught.value.hint


MODELSCOPE = "https://www.modelscope.cn"
PAGES = "https://huggingface.co/Qwen/Qwen3-0.6B-GGUF"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0", "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0"),
        ("huggingface.co/Qwen/Qwen3-0.6B-GGUF", "hf.co/Qwen/Qwen3-0.6B-GGUF:latest"),
        ("hf:o/r/f.gguf@v1", "hf.co/o/r/f.gguf@v1"),
        ("ms:Qwen/Qwen3-0.6B-GGUF", "modelscope.cn/Qwen/Qwen3-0.6B-GGUF:latest"),
        ("ollama:llama3.2:3b", "registry.ollama.ai/library/llama3.2:3b"),
        ("docker:ai/smollm2", "docker.io/ai/smollm2:latest"),
        ("docker:smollm2:360M", "docker.io/ai/smollm2:360M"),
        ("oci://host:5000/ns/model:tag", "host:5000/ns/model:tag"),
        ("oci://host/model", "oci://host/model:latest"),
        (PAGES, "hf.co/Qwen/Qwen3-0.6B-GGUF:latest"),
        (f"{PAGES}/tree/main", "hf.co/Qwen/Qwen3-0.6B-GGUF:latest@main"),
        (f"{PAGES}/blob/main/q/x.gguf", "hf.co/Qwen/Qwen3-0.6B-GGUF/q/x.gguf@main"),
        (f"{PAGES}/resolve/main/x.gguf?download=true", "hf.co/Qwen/Qwen3-0.6B-GGUF/x.gguf@main"),
        (f"{PAGES}?show_file_info=x.gguf", "hf.co/Qwen/Qwen3-0.6B-GGUF/x.gguf"),
        ("https://modelscope.cn/models/a/b/summary", "modelscope.cn/a/b:latest"),
        (f"{MODELSCOPE}/models/a/b/file/view/master/x.gguf", "modelscope.cn/a/b/x.gguf@master"),
        ("https://ollama.com/library/llama3.2:3b", "registry.ollama.ai/library/llama3.2:3b"),
        ("https://ollama.com/llama3.2", "registry.ollama.ai/library/llama3.2:latest"),
        ("https://hub.docker.com/r/ai/smollm2", "docker.io/ai/smollm2:latest"),
        ("file:///data/x.gguf", "/data/x.gguf"),
        ("x.gguf", "./x.gguf"),
    ],
)  # fmt: skip
def test_other_ways_to_write_a_name_mean_the_same(text: str, name: str) -> None:
    ref = parse_name(text)

    assert str(ref) == name
    assert parse_name(name) == ref


def test_an_address_of_a_file_keeps_its_digest() -> None:
    ref = parse_name(f"https://host/a/b.gguf#sha256={'A' * 64}")

    assert ref.source is ModelSource.URL
    assert ref.digest == f"sha256:{'a' * 64}"
    assert str(ref) == f"https://host/a/b.gguf#sha256={'a' * 64}"


def test_a_digest_pins_a_model() -> None:
    assert parse_name(f"qwen3:0.6b@sha256:{'0' * 64}").digest == f"sha256:{'0' * 64}"


@pytest.mark.parametrize("text", ["./a.gguf", "../x", "/a", "~/models/x.gguf", "C:\\x.gguf", "."])
def test_a_path_is_a_file_of_this_machine(text: str) -> None:
    assert parse_name(text).source is ModelSource.FILE
