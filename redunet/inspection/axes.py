"""Axes that a user gives, or new ones, and names that are drawn as they are."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.legend import Legend

# A space of no width. Matplotlib leaves out of legends what begins with an underscore.
MARK = "\N{ZERO WIDTH SPACE}"


def given_or_new(ax: Axes | None, *, figsize: tuple[float, float] | None = None) -> Axes:
    """The axes if they are given, otherwise those of a new figure."""
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def literal(name: object) -> str:
    """A name, such as that of a class, in which matplotlib sees no mathematics between dollars."""
    return str(name).replace("$", r"\$")


def entry(name: object) -> str:
    """A name as the label of a curve in a legend of :func:`draw_legend`."""
    text = literal(name)
    return MARK + text if not text or text.startswith("_") else text


def draw_legend(ax: Axes, **options: Any) -> Legend:
    """Draw a legend whose names stand as they are, also those that begin with an underscore."""
    legend = ax.legend(**options)
    for text in legend.get_texts():
        shown = text.get_text().removeprefix(MARK)
        is_formula = shown.count("$") > shown.count(r"\$")
        text.set_text(shown if is_formula else shown.replace(r"\$", "$"))
        text.set_parse_math(is_formula)
    return legend
