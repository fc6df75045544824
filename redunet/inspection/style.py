"""What all plots have in common: axes, names as they stand, and colours and markers.

Colour-blind readers can distinguish the colours and markers, and they print well.
"""

from typing import TypedDict

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

# The palette of Okabe and Ito, without yellow and black, and with grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS = "os^Dv*PX<>"

# Ten hues for classes. With any kind of colour blindness, no two of them look the same.
HUES = (*PALETTE, "#8C0000", "#5B2A9B", "#A6D854")


def class_colors(count: int) -> np.ndarray:
    """Colours of ``count`` classes, ``(count, 4)``: up to ten hues, or viridis for more classes."""
    if count <= len(HUES):
        return np.array([to_rgba(color) for color in HUES[:count]])
    return plt.colormaps["viridis"](np.linspace(0, 0.9, count))


class Style(TypedDict):
    """How the curve of a class is drawn."""

    color: str
    marker: str


def class_style(number: int) -> Style:
    """Colour and marker of the class with this number; different for the first hundred classes."""
    turn = number // len(HUES)
    return {"color": HUES[number % len(HUES)], "marker": MARKERS[(number + turn) % len(MARKERS)]}


def given_or_new(ax: Axes | None) -> Axes:
    """The axes if they are given, otherwise those of a new figure."""
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    return ax


def literal(name: object) -> str:
    """A name, such as that of a class, in which matplotlib sees no mathematics between dollars."""
    return str(name).replace("$", r"\$")
