"""Our code sets and reads no field that a structure of llama.cpp's binding does not have."""

from __future__ import annotations

import ast
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from llama_cpp import llama_cpp as api
from llama_cpp import mtmd_cpp as mtmd

import localrun
from localrun.engine.context_params import ROPE_NUMBERS
from tests.engine.llama.struct_fields import Binding, Sources

if TYPE_CHECKING:
    from types import ModuleType

ENGINE = Path(localrun.__file__).parent / "engine"
PARAMS = "def open_it():\n    params = api.llama_context_default_params()\n"
OWN = "class _Own(ctypes.Structure):\n    _fields_ = [('poll', int)]\n\n"
USED = {
    "llama_batch",
    "llama_context_params",
    "llama_model_params",
    "llama_model_quantize_params",
    "llama_token_data_array",
    "mtmd_context_params",
    "mtmd_input_text",
}


def is_struct(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, ctypes.Structure)


def fields(struct: Any) -> frozenset[str]:
    return frozenset(one[0] for one in getattr(struct, "_fields_", ()))


def binding(*modules: ModuleType) -> Binding:
    values = {name: value for module in modules for name, value in vars(module).items()}
    made: dict[str, Any] = {n: getattr(value, "restype", None) for n, value in values.items()}
    return Binding(
        structs={name: fields(value) for name, value in values.items() if is_struct(value)},
        functions={name: kind.__name__ for name, kind in made.items() if is_struct(kind)},
    )


def sources(**texts: str) -> Sources:
    return Sources(binding(api, mtmd), {name: ast.parse(text) for name, text in texts.items()})


@pytest.fixture(scope="module")
def engine() -> Sources:
    texts = {str(path.relative_to(ENGINE)): path.read_text() for path in ENGINE.rglob("*.py")}
    return sources(
        **{name: text for name, text in texts.items() if "llama_cpp" in text or "ctypes" in text}
    )


def test_the_engine_names_only_fields_that_the_structures_have(engine: Sources) -> None:
    assert engine.unknown() == []


def test_the_structures_that_the_engine_writes_are_found(engine: Sources) -> None:
    uses = engine.field_uses()

    assert {use.struct for use in uses} >= USED
    assert {"n_seq_max", "flash_attn_type"} <= {
        use.name for use in uses if use.place.startswith("context_params.py")
    }


@pytest.mark.parametrize("name", ROPE_NUMBERS)
def test_a_rope_option_has_the_name_of_its_field(name: str) -> None:
    assert name in fields(api.llama_context_params)


@pytest.mark.parametrize(
    "text",
    [
        PARAMS + "    params.n_sec_max = 1\n",
        PARAMS + "    params.n_ctx, params.n_threats = 1, 2\n",
        PARAMS + "    return params.n_bach\n",
        PARAMS + "    fill(params)\n\ndef fill(params: Any):\n    params.n_gpu_layers = 1\n",
        PARAMS + "    return params\n\ndef use():\n    params = open_it()\n    params.n_ctxt = 1\n",
        "def make():\n    return api.llama_batch(n_tokens=0, token=None, embed=None)\n",
        "def make(self):\n    self.native = api.llama_batch()\n    self.native.n_token = 1\n",
        "def make():\n    text = mtmd.mtmd_input_text()\n    text.text_length = 1\n",
        OWN + "def make():\n    own = _Own()\n    own.pol = 1\n",
    ],
)
def test_a_misspelled_field_is_found(text: str) -> None:
    assert len(sources(module=text).unknown()) == 1
