"""A list of modules with a type for its entries."""

from collections.abc import Iterable, Iterator
from textwrap import indent
from typing import TYPE_CHECKING, Generic, Self, TypeVar, overload

from torch import nn

Entry = TypeVar("Entry", bound=nn.Module)


class LayerList(nn.ModuleList, Generic[Entry]):
    """An ``nn.ModuleList`` whose entries are all of one class; a slice of it is a LayerList too."""

    if TYPE_CHECKING:  # declarations without effect at run time

        def __init__(self, modules: Iterable[Entry] | None = None) -> None: ...

        def __iter__(self) -> Iterator[Entry]: ...

        @overload
        def __getitem__(self, idx: slice) -> Self: ...
        @overload
        def __getitem__(self, idx: int) -> Entry: ...
        def __getitem__(self, idx: int | slice) -> Entry | Self: ...

    def __repr__(self) -> str:
        """The first layer stands for all, which have the same parts."""
        layers = f"{len(self)} layer{'s' * (len(self) != 1)}"
        first = f", the first:\n{indent(repr(self[0]), '  ')}\n" if len(self) else ""
        return f"{type(self).__name__}({layers}{first})"
