"""Fields of ctypes structures that Python sources name, found without running them.

    params = api.llama_context_default_params()     the function returns a structure
    batch = api.llama_batch(n_tokens=0)             keywords are fields, too
    set_rope(params, options)                       its ``params: Any`` is that structure

ctypes takes a misspelled field for a new attribute of the Python object, and says nothing.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NUM_PASSES = 4  # a structure passes through so many functions at most
Function = ast.FunctionDef | ast.AsyncFunctionDef
_Scope = tuple[str, Function, list[ast.AST]]  # the name of its module, and all that is in it


@dataclass(frozen=True)
class Binding:
    """Structures of a binding with their fields, and functions that return one."""

    structs: Mapping[str, frozenset[str]]
    functions: Mapping[str, str]


@dataclass(frozen=True)
class FieldUse:
    """A field that a source sets or reads."""

    place: str  # module:line
    struct: str
    name: str


@dataclass
class Sources:
    """Modules by their names, and what is known of their expressions so far."""

    binding: Binding
    modules: dict[str, ast.Module]
    structs: dict[str, frozenset[str]] = field(default_factory=dict)
    variables: dict[tuple[str, str, str], str] = field(default_factory=dict)  # by function
    attributes: dict[str, str] = field(default_factory=dict)  # of any object
    returned: dict[tuple[str, str], str] = field(default_factory=dict)  # by module and function
    _callees: defaultdict[str, list[tuple[str, Function]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def field_uses(self) -> list[FieldUse]:
        """Return all uses of fields."""
        self.structs |= self.binding.structs
        scopes: list[_Scope] = []
        for name, module in self.modules.items():
            self.structs |= _own_structs(module)
            functions = (node for node in ast.walk(module) if isinstance(node, Function))
            scopes += [(name, function, [*ast.walk(function)]) for function in functions]
        for name, function, _ in scopes:
            self._callees[function.name].append((name, function))
        for _ in range(NUM_PASSES):
            for scope in scopes:
                self._infer(*scope)
        return [use for scope in scopes for use in self._uses(*scope)]

    def _infer(self, module: str, function: Function, nodes: list[ast.AST]) -> None:
        """Note which variables, attributes and results of a function are structures."""
        for node in nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    for place, value in _pairs(target, node.value):
                        self._note(module, function, place, value)
            elif isinstance(node, ast.Return) and node.value is not None:
                struct = self._struct_of(module, function, node.value)
                if struct is not None:
                    self.returned[module, function.name] = struct
            elif isinstance(node, ast.Call):
                self._note_arguments(module, function, node)

    def _note(self, module: str, function: Function, place: ast.expr, value: ast.expr) -> None:
        struct = self._struct_of(module, function, value)
        if struct is None:
            return
        if isinstance(place, ast.Name):
            self.variables[module, function.name, place.id] = struct
        elif isinstance(place, ast.Attribute):
            self.attributes[place.attr] = struct

    def _note_arguments(self, module: str, function: Function, call: ast.Call) -> None:
        """Note the parameters without a type that a call passes structures for."""
        for number, value in enumerate(call.args):
            struct = self._struct_of(module, function, value)
            if struct is None:
                continue
            for other, callee in self._callees.get(_name(call.func), ()):
                parameters = [one for one in callee.args.args if one.arg != "self"]
                if number < len(parameters) and _is_any(parameters[number]):
                    self.variables[other, callee.name, parameters[number].arg] = struct

    def _struct_of(self, module: str, function: Function, value: ast.expr) -> str | None:
        """Return the name of the structure that an expression is, or None."""
        if isinstance(value, ast.Name):
            return self.variables.get((module, function.name, value.id))
        if isinstance(value, ast.Attribute):
            return self.attributes.get(value.attr)
        if not isinstance(value, ast.Call):
            return None
        name = _name(value.func)
        if name in self.structs:
            return name
        return self.binding.functions.get(name) or self.returned.get((module, name))

    def _uses(self, module: str, function: Function, nodes: list[ast.AST]) -> Iterator[FieldUse]:
        for node in nodes:
            if isinstance(node, ast.Attribute):
                struct = self._struct_of(module, function, node.value)
                if struct is not None:
                    yield FieldUse(f"{module}:{node.lineno}", struct, node.attr)
            elif isinstance(node, ast.Call) and _name(node.func) in self.structs:
                for keyword in node.keywords:
                    place = f"{module}:{keyword.lineno}"
                    yield FieldUse(place, _name(node.func), keyword.arg or "**")

    def unknown(self) -> list[FieldUse]:
        """Return the uses of fields that their structure does not have."""
        return [use for use in self.field_uses() if use.name not in self.structs[use.struct]]


def _own_structs(module: ast.Module) -> dict[str, frozenset[str]]:
    """Return the structures that a module defines."""
    return {
        node.name: _fields_of(node)
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and "Structure" in map(_name, node.bases)
    }


def _fields_of(struct: ast.ClassDef) -> frozenset[str]:
    for node in struct.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if "_fields_" in map(_name, targets) and isinstance(node, ast.Assign):
            pairs = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else []
            return frozenset(
                str(pair.elts[0].value)
                for pair in pairs
                if isinstance(pair, ast.Tuple) and isinstance(pair.elts[0], ast.Constant)
            )
    return frozenset()


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=False))
    return [(target, value)]


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_any(parameter: ast.arg) -> bool:
    return isinstance(parameter.annotation, ast.Name) and parameter.annotation.id == "Any"
