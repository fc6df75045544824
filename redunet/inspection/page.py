"""The parts of an HTML page: tables, panels and sections."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from jinja2 import Environment, Template
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from redunet.inspection.text import readable

# Pixels per inch in files and on pages. Files have more, for screens of high resolution.
DPI = 150
PAGE_DPI = 96

# Size of a panel in inches. Its text remains readable if it is as wide as a phone.
PANEL = (4.2, 3.5)


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    value: Any  # by which rows are sorted
    link: str = ""  # the name of a place on the page


class Table(NamedTuple):
    """A table with a row of headers."""

    headers: list[str]
    rows: list[list[Cell]]

    @classmethod
    def of(cls, headers: list[str], rows: Iterable[Iterable[Any]]) -> "Table":
        """A table of values, which are made readable; cells stay as they are."""
        return cls(headers, [[_cell(value) for value in row] for row in rows])


class Panel(NamedTuple):
    """A picture with its description."""

    data: str  # a data URI
    alt: str
    caption: str
    width: int  # on a page, in pixels


class Section(NamedTuple):
    """A part of a page with a title of its own."""

    title: str
    texts: list[str]
    panels: list[Panel]
    table: Table | None = None


def _cell(value: Any) -> Cell:
    return value if isinstance(value, Cell) else Cell(readable(value), value)


def drawn(
    draw: Callable[[Axes], object],
    alt: str,
    caption: str = "",
    *,
    size: tuple[float, float] = PANEL,
) -> Panel:
    """A panel with one set of axes, on which a function draws."""
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    draw(ax)
    return panel(figure, alt, caption)


def panel(figure: Figure, alt: str, caption: str = "") -> Panel:
    """A figure as a panel; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    width = round(figure.get_figwidth() * PAGE_DPI)
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Panel(f"data:image/png;base64,{data}", alt, caption, width)


def template(name: str) -> Template:
    """A template of this package. Its filter ``csp_hash`` is the source of a script in a CSP."""
    source = files("redunet.inspection").joinpath(name).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["csp_hash"] = csp_hash
    return environment.from_string(source.lstrip())


def csp_hash(script: str) -> str:
    """The hash of a script that permits it in a Content Security Policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
