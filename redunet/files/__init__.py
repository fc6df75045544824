"""Files of tensors without pickles, files that are written atomically, and exported graphs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded on use, because it loads torch
    from redunet.files.exporting import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    """Load ``export`` when it is used."""
    if name == "export":
        return import_module("redunet.files.exporting").export
    raise AttributeError(f"redunet.files has no attribute {name!r}")
