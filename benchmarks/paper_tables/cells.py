"""Tables as lists of cells, whose values are kept in a file, so that a run can be resumed."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch
from tabulate import tabulate
from tqdm import tqdm

from redunet.files.atomic import atomic_write

# What a cell is computed from, and its values. Both are saved as JSON.
Settings = dict[str, Any]
Values = dict[str, float]

NONE = "–"


class Machine(NamedTuple):
    """Where a cell is computed, which is not a part of its settings."""

    data_dir: str | None
    device: torch.device


class Results:
    """Values of cells, and optionally a file of JSON lines that keeps them.

    Raises
    ------
    ValueError
        If a line of the file is not the result of a cell.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self._lines: dict[str, dict[str, Any]] = {}
        self._read()

    def get(self, settings: Settings) -> Values | None:
        """The values of a cell, or None if it is not computed yet."""
        line = self._lines.get(_key(settings))
        return None if line is None else line["values"]

    def put(self, settings: Settings, values: Values, seconds: float) -> None:
        """Keep the values of a cell, and write the file anew, completely or not at all."""
        self._read()  # another process may have added cells
        line = {"settings": settings, "values": values, "seconds": round(seconds, 1)}
        self._lines[_key(settings)] = line
        if self.path is not None:
            with atomic_write(self.path) as file:
                text = "".join(
                    json.dumps(x, ensure_ascii=False) + "\n" for x in self._lines.values()
                )
                file.write_text(text, encoding="utf-8")

    def seconds(self, cells: Sequence[Settings]) -> float:
        """Time that the cells took together, as far as they are computed."""
        lines = (self._lines.get(_key(settings)) for settings in cells)
        return sum(line["seconds"] for line in lines if line is not None)

    def _read(self) -> None:
        if self.path is None or not self.path.exists():
            return
        for number, text in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                line = json.loads(text)
                self._lines[_key(line["settings"])] = {
                    name: line[name] for name in ("settings", "values", "seconds")
                }
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"line {number} of {self.path} must be the result of a cell, got {text[:60]!r}"
                ) from error


class Table(NamedTuple):
    """A table: its cells, how to compute one, and how to show all.

    Attributes
    ----------
    title : str
    needs : str
        Data that it needs, or "".
    minutes : float
        Estimated time of all cells on one core.
    cells : list of dict
        Settings of every cell.
    compute : callable
        Values of a cell from its settings.
    show : callable
        A table in Markdown from the settings of the cells to show, and results.
    trial : dict
        Settings that make the first cell tiny, with embedded digits.
    """

    title: str
    needs: str
    minutes: float
    cells: list[Settings]
    compute: Callable[[Settings, Machine], Values]
    show: Callable[[Sequence[Settings], Results], str]
    trial: Settings


def fill(
    name: str, table: Table, cells: Sequence[Settings], results: Results, machine: Machine
) -> None:
    """Compute the cells that have no values yet. Print the seconds of each."""
    missing = [settings for settings in cells if results.get(settings) is None]
    if len(missing) < len(cells):
        tqdm.write(f"{len(cells) - len(missing)} of {len(cells)} cells are known", file=sys.stderr)
    for settings in tqdm(missing, desc=f"table {name}", unit="cell"):
        start = time.perf_counter()
        values = table.compute(settings, machine)
        seconds = time.perf_counter() - start
        results.put(settings, values, seconds)
        if seconds >= 0.1:
            shown = (f"{key} = {value}" for key, value in varying(settings, cells).items())
            tqdm.write(f"{seconds:7.1f} s  {', '.join(shown)}", file=sys.stderr)


def varying(settings: Settings, cells: Sequence[Settings]) -> Settings:
    """The settings that are not the same in all cells."""
    return {k: v for k, v in settings.items() if any(other.get(k) != v for other in cells)}


def selected(cells: Sequence[Settings], only: Sequence[str]) -> list[Settings]:
    """The cells whose settings have the given values, each "NAME=VALUE" or "NAME=VALUE,VALUE"."""
    wanted = {}
    for text in only:
        name, found, values = text.partition("=")
        if not found or not any(name in settings for settings in cells):
            names = ", ".join(sorted({name for settings in cells for name in settings}))
            raise ValueError(f"--only takes NAME=VALUE with one of the names {names}, got {text!r}")
        wanted[name] = values.split(",")
    return [x for x in cells if all(str(x.get(name)) in values for name, values in wanted.items())]


def groups(cells: Sequence[Settings], *names: str) -> dict[tuple[Any, ...], list[Settings]]:
    """The cells with the same values of these settings, such as those of all seeds."""
    grouped: dict[tuple[Any, ...], list[Settings]] = {}
    for settings in cells:
        grouped.setdefault(tuple(settings[name] for name in names), []).append(settings)
    return grouped


def spread(cells: Sequence[Settings], results: Results, name: str, digits: int = 3) -> str:
    """Mean and standard deviation of one value over cells, or a dash."""
    found = [results.get(settings) for settings in cells]
    numbers = [values[name] for values in found if values is not None and name in values]
    if not numbers:
        return NONE
    text = f"{mean(numbers):.{digits}f}"
    return f"{text} ± {stdev(numbers):.{digits}f}" if len(numbers) > 1 else text


def markdown(rows: Sequence[Sequence[object]], headers: Sequence[str], digits: int = 3) -> str:
    """A table in Markdown, with a dash for what is not known."""
    shown = [[f"{x:.{digits}f}" if isinstance(x, float) else x for x in row] for row in rows]
    return tabulate(shown, headers, "github", missingval=NONE, disable_numparse=True)


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)
