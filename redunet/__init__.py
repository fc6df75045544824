"""Deep networks constructed from data, layer by layer, without back-propagation.

The public names are those of ``__init__.pyi``. Their modules, and torch, are loaded when they are
used, so that ``import redunet`` takes no time.
"""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def _homes() -> dict[str, str]:
    """The module of each public name."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_HOMES = _homes()

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """Load a public name, or a module, when it is used."""
    home = _HOMES.get(name)
    if home is not None and home != "redunet":
        value = getattr(import_module(home), name)
    elif not name.startswith("_") and find_spec(f"redunet.{name}"):
        value = import_module(f"redunet.{name}")
    else:
        raise AttributeError(f"redunet has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
