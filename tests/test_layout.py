"""Imports run downwards only: every room of the package uses rooms below it, never above."""

import ast
from pathlib import Path

import pytest

import redunet

PACKAGE = Path(redunet.__file__).parent

# From the ground to the top; rooms on one floor do not know each other.
FLOORS = [
    {"_version", "_labels", "algorithm", "_precision", "_processes", "_warnings"},
    {"_shapes"},
    {"_checks"},
    {"_registry"},
    {"rates", "files", "_names"},
    {"lifts", "datasets", "coding"},
    {"layers"},
    {"construction"},
    {"search"},
    {"network"},
    {"training", "estimators"},
    {"inspection"},
    {"plots"},
    {"cli"},
    {"__main__", "__init__"},
]
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """The dotted name of a module, without the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(path):
    """Modules of the package that a module imports anywhere, without the package's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


def test_every_room_has_a_floor():
    assert {name_of(path).split(".")[0] for path in MODULES} == set(HEIGHT)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_downwards(path):
    room = name_of(path).split(".")[0]
    for name in imports(path):
        other = name.split(".")[0]
        assert other == room or HEIGHT.get(other, 0) < HEIGHT[room], f"{room} imports {name}"


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
