"""Colours and markers that colour-blind readers can distinguish, and that print well."""

import matplotlib.pyplot as plt
import numpy as np

# The palette of Okabe and Ito, without yellow and black, and with grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS = "os^Dv*P"


def class_colors(count: int) -> np.ndarray:
    """Colours of ``count`` classes, ``(count, 4)``: the palette, or viridis if it is too short."""
    if count <= len(PALETTE):
        return np.array([plt.matplotlib.colors.to_rgba(color) for color in PALETTE[:count]])
    return plt.colormaps["viridis"](np.linspace(0, 0.9, count))
