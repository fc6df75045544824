"""Plot of the rate reduction of every pair of classes."""

import numpy as np
from matplotlib.axes import Axes

from redunet._checks import Array, as_samples
from redunet._labels import as_labels
from redunet.inspection.axes import given_or_new, literal
from redunet.rates.pairs import pairwise_rate_reduction

# With more classes, the numbers would not fit into their fields.
MOST_NUMBERS = 12


def plot_pairs(Z: Array, labels: Array, eps_sq: float, *, ax: Axes | None = None) -> Axes:
    """Draw a heat map of the rate reduction of each pair of classes.

    A dark field marks two classes that are far apart: their subspaces are nearly orthogonal, and
    have many dimensions. A light field marks two classes that share directions. A network confuses
    such classes most easily.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
        Features. If there are spatial axes, the rates are shift-invariant.
    labels : array-like or Tensor of shape (m,)
        Integers or strings.
    eps_sq : float
        ε², the squared precision of the code, such as ``net.settings.eps_sq``.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Section 2.3, ΔR_ij.
    """
    ax = given_or_new(ax)
    Z = as_samples(Z, name="Z").detach()
    labels = as_labels(labels, len(Z))
    delta = pairwise_rate_reduction(Z, labels, eps_sq).cpu().numpy()
    classes = np.unique(labels)
    np.fill_diagonal(delta, np.nan)  # a class and itself
    image = ax.imshow(delta, cmap="Blues", vmin=0)
    ax.figure.colorbar(image, ax=ax, label=r"$\Delta R_{ij}$ [nats]", shrink=0.85)
    if len(classes) <= MOST_NUMBERS:
        _write_numbers(ax, delta)
    upright = max(map(len, map(str, classes))) > 3
    names = list(map(literal, classes))
    ax.set_xticks(range(len(classes)), names, rotation=90 if upright else 0)
    ax.set_yticks(range(len(classes)), names)
    ax.tick_params(length=0)
    ax.set(xlabel="class", ylabel="class", title="Rate reduction of pairs of classes")
    return ax


def _write_numbers(ax: Axes, values: np.ndarray) -> None:
    """Write each value into its field, except those that are NaN."""
    dark = np.nanmax(values) / 2
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            color = "white" if value > dark else "black"
            ax.text(j, i, f"{value:.3g}", ha="center", va="center", color=color, fontsize="small")
