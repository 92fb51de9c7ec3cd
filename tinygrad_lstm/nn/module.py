"""Module: parameters and sub-modules by attribute, and the scope a call is recorded in.

Knows nothing of particular layers. Registered values also stand in the instance's own dictionary,
so that reading `self.weight` in a forward pass costs an ordinary attribute access.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from ..context import CONTEXT, PACKAGE, calling_line
from ..errors import DTypeError
from ..tensor import Array, Parameter
from ._state import LoadReport, matched

__all__ = ["LoadReport", "Module"]

_frame = sys._getframe


class Module:
    """A part of a model: assign Parameters and Modules to attributes, and define `forward`.

    Calling a module runs `forward` in a scope of its own: the attribute name it was registered
    under, or the class name for a module that is nobody's part. `scope_name`, on the class or on
    an instance, overrides that; "" means no scope. Plain lists are not looked into: `ModuleList`
    registers what it holds.
    """

    scope_name: str | None = None
    training: bool

    _parameters: dict[str, Parameter | None]
    _modules: dict[str, Module | None]
    _label: str

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        put = object.__setattr__
        put(self, "training", True)
        put(self, "_parameters", {})
        put(self, "_modules", {})
        put(self, "_label", cls.__name__)
        return self

    def __init__(self) -> None:
        """Nothing: a subclass need not call it."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__}: no forward() is defined")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, recorded in this module's scope and on behalf of the calling line."""
        now = CONTEXT.get()
        name = self.scope_name
        if name is None:
            name = self._label
        site = now.site
        if site is None:
            frame = _frame(1)
            inside = frame.f_code.co_filename.startswith(PACKAGE)
            site = calling_line() if inside else (frame.f_code, frame.f_lasti)
        elif not name:
            return self.forward(*args, **kwargs)
        try:  # around the change too: Ctrl-C may come right after it
            CONTEXT.set(now.inside(name, site))
            return self.forward(*args, **kwargs)
        finally:
            CONTEXT.set(now)

    # -- registration -------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._modules.pop(name, None)
            self._parameters[name] = value
            if value.name is None:
                value.name = name
        elif isinstance(value, Module):
            if any(module is self for module in value.modules()):
                raise ValueError(f"{name}: {type(self).__name__} would become a part of itself")
            self._parameters.pop(name, None)
            self._modules[name] = value
            value._registered_as(name)
        elif name in self._parameters:
            self._parameters[name] = _none(value, name, "Parameter")
        elif name in self._modules:
            self._modules[name] = _none(value, name, "Module")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._parameters.pop(name, None)
        self._modules.pop(name, None)

    def __copy__(self) -> Self:
        """A module of its own that shares the parameters and parts, until others are set."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.__dict__.update(_parameters={**self._parameters}, _modules={**self._modules})
        return twin

    def _registered_as(self, name: str) -> None:
        kind = type(self).__name__
        if self._label == kind:  # the first parent names it
            self._label = f"{kind} {name}" if name.isdigit() else name

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Make `parameter` the attribute `name`; None keeps the place of one left out.

        Raises TypeError for anything else, KeyError for a name that is taken.
        """
        self._check_name(name, self._parameters)
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"{name}: expected a Parameter or None, got {_kind(parameter)}")
        self._parameters[name] = None
        setattr(self, name, parameter)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make `module` the part called `name`; None keeps the place of one left out.

        Raises TypeError for anything else, KeyError for a name that is taken.
        """
        self._check_name(name, self._modules)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{name}: expected a Module or None, got {_kind(module)}")
        self._modules[name] = None
        setattr(self, name, module)

    def _check_name(self, name: str, registered: Mapping[str, object]) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"name: expected a non-empty string without dots, got {name!r}")
        if hasattr(self, name) and name not in registered:
            raise KeyError(f"name: {type(self).__name__} already has an attribute {name!r}")

    # -- looking through the tree ---------------------------------------------------------------

    def children(self) -> Iterator[Module]:
        """The direct parts, each once."""
        seen: set[Module] = set()
        for module in self._modules.values():
            if module is not None and module not in seen:
                seen.add(module)
                yield module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, module) for this module and every part of it, each module once."""
        seen: set[Module] = set()
        for name, module in self._walk(prefix):
            if module not in seen:
                seen.add(module)
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and every part of it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter), each parameter once: under the first of its names."""
        seen: set[int] = set()
        for name, parameter in self._places(prefix):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter of this module and its parts, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Every place in the tree, a part used twice at both."""
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._walk(f"{prefix}.{name}" if prefix else name)

    def _places(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        """Every name of every parameter."""
        for where, module in self._walk(prefix):
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield f"{where}.{name}" if where else name, parameter

    # -- changing all of it -----------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set training mode, which Dropout heeds, here and in every part."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self) -> Self:
        """Leave training mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget every parameter's gradient."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let gradients flow to the parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def to(self, dtype: Any) -> Self:
        """Convert the parameters to a floating-point dtype; their gradients are forgotten.

        Raises DTypeError for a dtype that is not floating-point.
        """
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            raise DTypeError(f"to: expected a floating-point dtype, got {wanted}")
        for parameter in self.parameters():
            if parameter.dtype != wanted:
                parameter._data = parameter._data.astype(wanted)
                parameter.data = parameter._data  # the setter counts the change
                parameter.grad = None
        return self

    def double(self) -> Self:
        """Convert the parameters to float64."""
        return self.to(np.float64)

    def float(self) -> Self:
        """Convert the parameters to float32."""
        return self.to(np.float32)

    def apply(self, function: Callable[[Module], object]) -> Self:
        """Call `function` on every part, then on this module."""
        for module in reversed(tuple(self.modules())):
            function(module)
        return self

    # -- state ------------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, Array]:
        """Copies of the parameters by dotted name; a shared one stands under each of its names."""
        return {name: parameter.data.copy() for name, parameter in self._places(prefix)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Take the parameters' values from arrays or tensors, cast to the parameters' dtypes.

        strict: every name must be given and known; otherwise the differences are returned.
        Raises ValueError listing every missing, unexpected and misshapen entry, and then changes
        nothing. One of a shared parameter's names is enough.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: expected a mapping of names to arrays, got {_kind(state)}")
        values, report = matched(dict(self._places("")), state, strict, type(self).__name__)
        for parameter, value in values:
            parameter.data = value
        return report

    # -- showing ----------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands in the parentheses of the repr; a subclass may define it."""
        return ""

    def __repr__(self) -> str:
        rows = list(self._rows("", "", ""))
        width = max(len(text) for text, _ in rows)
        digits = max(len(count) for _, count in rows)
        lines = [f"{text:<{width}}  {count:>{digits}}".rstrip() for text, count in rows]
        return "\n".join([lines[0] + " parameters", *lines[1:]])

    def _rows(self, lead: str, below: str, name: str) -> Iterator[tuple[str, str]]:
        label = f"{name}: " if name else ""
        count = sum(parameter.size for parameter in self.parameters())
        details = self.extra_repr()
        details = f"({details})" if details else ""
        yield f"{lead}{label}{type(self).__name__}{details}", f"{count:,}"
        parts = [(name, module) for name, module in self._modules.items() if module is not None]
        for k, (name, module) in enumerate(parts):
            last = k == len(parts) - 1
            branch, stem = ("└─ ", "   ") if last else ("├─ ", "│  ")
            yield from module._rows(below + branch, below + stem, name)


def _none(value: Any, name: str, kind: str) -> None:
    if value is not None:
        raise TypeError(f"{name}: expected a {kind} or None, got {_kind(value)}")


def _kind(value: object) -> str:
    return type(value).__name__
