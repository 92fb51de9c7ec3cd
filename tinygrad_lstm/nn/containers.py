"""Sequential and ModuleList: parts in a row, named by their position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from .module import Module

__all__ = ["ModuleList", "Sequential"]


class ModuleList(Module):
    """A list of modules that registers them as parts; how they are called is up to the owner."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def append(self, module: Module) -> Self:
        """Add a part at the end. Raises TypeError for anything but a Module."""
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: expected a Module, got {type(module).__name__}"
            )
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add parts at the end."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return (module for module in self._modules.values() if module is not None)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Module | Self:
        parts = list(self)
        if isinstance(index, slice):
            return type(self)._of(parts[index])
        if not -len(parts) <= index < len(parts):
            raise IndexError(f"{type(self).__name__}: no part {index} among {len(parts)}")
        return parts[index]

    @classmethod
    def _of(cls, parts: list[Module]) -> Self:
        return cls(parts)


class Sequential(ModuleList):
    """Modules called one after another, each with what the one before it returned.

    Give them as arguments, or as one mapping of names to modules. Without any, x itself.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            super().__init__(modules)  # type: ignore[arg-type] - append checks each

    @classmethod
    def _of(cls, parts: list[Module]) -> Self:
        return cls(*parts)

    def forward(self, x: Any) -> Any:
        """x: whatever the first module takes -> whatever the last one gives."""
        for module in self:
            x = module(x)
        return x
