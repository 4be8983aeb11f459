"""Converter from Go templates, as in Ollama's Modelfiles, to Jinja templates.

The result reads the variables of chat templates (``messages``, ``tools``, ``enable_thinking``,
``reasoning_effort``) and calls the functions of ``runtime.py``. All of its text is in string
literals between tags that trim on both sides, so it does not depend on Jinja's settings.

A template without ``.Messages`` has Ollama's older form: it is rendered once for each turn, and for
the last turn only up to ``.Response``, where the model continues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.chat.gotemplate.calls import in_calling_order
from localrun.chat.gotemplate.expressions import NAMESPACE, Scope, converted, quoted, variable
from localrun.chat.gotemplate.legacy import RESPONSE, until_response
from localrun.chat.gotemplate.parser import parse
from localrun.chat.gotemplate.tree import (
    Action,
    If,
    Jump,
    Literal,
    Range,
    TemplateCall,
    TextNode,
    With,
)

if TYPE_CHECKING:
    from localrun.chat.gotemplate.tree import Node, Pipe, Template

HEADER = "{#- converted from a Go template by localrun -#}"
MAX_INDENT = 20
# passed only if the template mentions them: their presence shows what the template supports
_OPTIONS = {
    "tools": ("tools", "tools"),
    "think": ("enable_thinking", "think"),
    "isthinkset": ("enable_thinking", "think"),
    "thinklevel": ("reasoning_effort", "think_level"),
    "suffix": ("suffix", "suffix"),
}


def convert(text: str) -> str:
    """Return the equivalent Jinja template.

    Raises:
        GoTemplateError: the template is malformed, or has no equivalent.
    """
    template = parse(text)
    lines = _Writer(template)
    lines.put(HEADER)
    for name in in_calling_order(template):
        lines.macro(name)
    lines.begin()
    arguments = _arguments(template.names)
    context = Scope("root", "root")
    if "messages" in template.names:
        lines.put(f"{{%- set root = go_data({arguments}) -%}}")
        lines.nodes(template.body, context)
    else:
        _write_turns(lines, template, arguments, context)
    return lines.text()


def _arguments(names: set[str]) -> str:
    used = {parameter: name for key, (name, parameter) in _OPTIONS.items() if key in names}
    options = (f"{parameter}={name} | default(none)" for parameter, name in used.items())
    return ", ".join(["messages", *options])


def _write_turns(lines: _Writer, template: Template, arguments: str, context: Scope) -> None:
    whole = template.body
    if "response" not in template.names:
        whole = (*whole, RESPONSE)
    lines.put(f"{{%- for is_open, root in go_turns({arguments}) -%}}")
    lines.put("{%- if is_open -%}")
    lines.nodes(until_response(whole), context)
    lines.put("{%- else -%}")
    lines.nodes(whole, context)
    lines.put("{%- endif -%}")
    lines.put("{%- endfor -%}")


class _Writer:
    """Writer of Jinja tags, one on each line."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._lines: list[str] = []
        self._indent = 0
        self._num_names = 0
        self._macros = {name: f"template_{n}" for n, name in enumerate(template.defined, 1)}

    def text(self) -> str:
        """Return the written template."""
        return "\n".join(self._lines)

    def put(self, tag: str) -> None:
        """Write a line."""
        self._lines.append("  " * min(self._indent, MAX_INDENT) + tag)

    def begin(self) -> None:
        """Write the beginning of a template."""
        if self._template.reassigns:
            self.put(f"{{%- set {NAMESPACE} = namespace() -%}}")

    def macro(self, name: str) -> None:
        """Write a named template as a macro."""
        self.put(f"{{%- macro {self._macros[name]}(root) -%}}")
        self.begin()
        self.nodes(self._template.defined[name], Scope("root", "root"))
        self.put("{%- endmacro -%}")

    def nodes(self, nodes: tuple[Node, ...], context: Scope) -> None:
        """Write nodes one level deeper."""
        self._indent += 1
        for node in nodes:
            self._node(node, context)
        self._indent -= 1

    def _node(self, node: Node, context: Scope) -> None:
        match node:
            case TextNode():
                self.put(f"{{{{- {quoted(node.text)} -}}}}")
            case Action():
                self._action(node.pipe, context)
            case If():
                self._if(node, context)
            case With():
                self._with(node, context)
            case Range():
                self._range(node, context)
            case TemplateCall():
                self._call(node, context)
            case Jump():
                self.put(f"{{%- {node.word} -%}}")

    def _action(self, pipe: Pipe, context: Scope) -> None:
        value = converted(pipe, context)
        if pipe.targets:
            self._set(variable(pipe.targets[0]), value)
            return
        only = pipe.commands[0].operands[0]
        is_text = isinstance(only, Literal) and isinstance(only.value, str)
        plain = is_text and len(pipe.commands) == 1
        self.put(f"{{{{- {value if plain else f'go_print({value})'} -}}}}")

    def _set(self, name: str, value: str) -> None:
        self.put(f"{{%- set {name} = {value} -%}}")

    def _condition(self, pipe: Pipe, context: Scope) -> str:
        """Return the condition of a branch, after assigning it to the branch's variable."""
        value = converted(pipe, context)
        if not pipe.targets:
            return value
        self._set(variable(pipe.targets[0]), value)
        return variable(pipe.targets[0])

    def _if(self, node: If, context: Scope) -> None:
        self.put(f"{{%- if {self._condition(node.pipe, context)} -%}}")
        self.nodes(node.body, context)
        orelse = node.orelse
        while len(orelse) == 1 and isinstance(orelse[0], If) and not orelse[0].pipe.targets:
            branch = orelse[0]
            self.put(f"{{%- elif {converted(branch.pipe, context)} -%}}")
            self.nodes(branch.body, context)
            orelse = branch.orelse
        self._else(orelse, context)
        self.put("{%- endif -%}")

    def _else(self, nodes: tuple[Node, ...], context: Scope) -> None:
        if nodes:
            self.put("{%- else -%}")
            self.nodes(nodes, context)

    def _with(self, node: With, context: Scope) -> None:
        value = self._condition(node.pipe, context)
        name = self._name()
        self._set(name, value)
        self.put(f"{{%- if {name} -%}}")
        self.nodes(node.body, Scope(context.root, name))
        self._else(node.orelse, context)
        self.put("{%- endif -%}")

    def _range(self, node: Range, context: Scope) -> None:
        key, item = self._name(), self._name()
        value = converted(node.pipe, context)
        self.put(f"{{%- for {key}, {item} in go_range({value}) -%}}")
        targets = node.pipe.targets
        sources = (item,) if len(targets) == 1 else (key, item)
        self._indent += 1
        for target, source in zip(targets, sources, strict=False):
            self._set(variable(target), source)
        self._indent -= 1
        self.nodes(node.body, Scope(context.root, item))
        self._else(node.orelse, context)
        self.put("{%- endfor -%}")

    def _name(self) -> str:
        self._num_names += 1
        return f"d{self._num_names}"

    def _call(self, node: TemplateCall, context: Scope) -> None:
        value = "none" if node.pipe is None else converted(node.pipe, context)
        self.put(f"{{{{- {self._macros[node.name]}({value}) -}}}}")
