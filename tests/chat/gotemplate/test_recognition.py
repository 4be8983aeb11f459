from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.chat.gotemplate.recognition import is_go_template
from localrun.chat.template import CHATML
from tests.chat.gotemplate.oracle.run import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

GO = [
    "{{ .Prompt }}",
    "{{.Prompt}}",
    "{{- .System -}}",
    "{{ . }}",
    "{{ $x := 1 }}",
    "{{- /* only a comment */ -}}",
    "{{ if .System }}{{ .System }}{{ end }}",
    "{{- range $i, $_ := .Messages }}{{ end }}",
    "{{ json .Tools }}",
    "{{ if (eq 1 1) }}x{{ end }}",
    '{{ template "x" . }}',
    "{% no Jinja %} {{ .Prompt }}",
]
JINJA = [
    CHATML,
    "{{ bos_token }}{{ messages[0].content }}",
    "{{- bos_token -}}",
    "{{ 'x' if messages else 'y' }}",
    "{{ not (a) }}{{ len (x) }}{{ range (3) }}",
    "{{ index if with is defined else range }}",
    "{%- if x %}{# {{ .Prompt }} #}{{ x }}{% endif %}",
    "{% if x %}{% raw %}{{ .Prompt }}{% endraw %}{% endif %}",
    "{{ raise_exception('.x') }}{{ \"$\" }}{{ '{ .Prompt }' }}",
    "no action at all",
    "",
]


@pytest.mark.parametrize("source", GO)
def test_a_go_template_is_recognised(source: str) -> None:
    assert is_go_template(source)


@pytest.mark.parametrize("path", sorted(FAMILIES.glob("*.gotmpl")), ids=lambda path: path.stem)
def test_so_is_one_of_each_family(path: Path) -> None:
    assert is_go_template(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("source", JINJA)
def test_a_jinja_template_is_not(source: str) -> None:
    assert not is_go_template(source)
