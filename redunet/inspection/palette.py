"""Colours and markers that colour-blind people tell apart, and that print well."""

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's, without yellow and black, with grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS = "os^Dv*P"


def class_colors(count: int) -> np.ndarray:
    """A colour for each class, ``(count, 4)``: of the palette, or by number where it ends."""
    if count <= len(PALETTE):
        return np.array([plt.matplotlib.colors.to_rgba(color) for color in PALETTE[:count]])
    return plt.colormaps["viridis"](np.linspace(0, 0.9, count))
