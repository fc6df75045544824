"""Imports run downwards only: every room of the package uses rooms below it, never above."""

import ast
from pathlib import Path

import pytest

import redunet

PACKAGE = Path(redunet.__file__).parent

# From the ground to the top: a room may use those before it. Private modules are below all rooms.
FOLDERS = [
    *("rates", "files", "coding", "datasets", "lifts", "layers", "construction", "search"),
    *("network", "training", "estimators", "inspection", "plots", "cli", "__init__", "__main__"),
]
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """The dotted name of a module, without the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(path):
    """Modules of the package that a module imports when it runs, without the package's name."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    blocks = [n for n in nodes if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    for_types = {node for block in blocks for node in ast.walk(block)}
    for node in nodes:
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("redunet."):
                yield name.removeprefix("redunet.")


def module_of(name, names):
    """The module that an imported name is, or is in."""
    while name not in names:
        name = name.rpartition(".")[0]
    return name


def height(name):
    """The place of a module from the ground."""
    room = name.split(".")[0]
    return FOLDERS.index(room) if room in FOLDERS else -1


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_downwards(path):
    own = name_of(path)
    for name in imports(path):
        same = name.split(".")[0] == own.split(".")[0]
        assert same or height(name) <= height(own), f"{own} imports {name}"


def test_no_modules_import_each_other():
    names = {name_of(path) for path in MODULES}
    graph = {
        name_of(path): {module_of(name, names | {""}) for name in imports(path)} - {""}
        for path in MODULES
    }
    done = set()

    def visit(module, way):
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in graph[module] - {module}:
                visit(other, [*way, module])
            done.add(module)

    for module in graph:
        visit(module, [])
