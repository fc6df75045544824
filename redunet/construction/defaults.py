"""The default values of a construction, which depend on the data. They are defined only here.

The reasons and measurements for these values are in docs/choosing.md.
"""

from redunet.construction.steps import longest_constant_step

# ε² for vectors. A shift-invariant operator equals the dense circulant operator with ε² times the
# number of frequencies, so ε² for signals is divided by that number.
EPS_SQ_OF_VECTORS = 0.5

# If no number of layers is given, the construction stops when a layer raises ΔR by less than 1 %,
# and after 50 layers at the latest.
TOLERANCE = 0.01
MOST_LAYERS = 50


def default_eps_sq(frequencies: int) -> float:
    """ε² for signals with this number of frequencies in the full spectrum (1 for vectors)."""
    return EPS_SQ_OF_VECTORS / frequencies


def default_eta(alpha: float, momentum: float) -> float:
    """η of the first layer, with α = C/(mε²): the step ηα is the longest safe constant step.

    With momentum, all layers take this step.
    """
    return longest_constant_step(momentum) / alpha


def default_depth(num_layers: int | None, tol: float | None) -> tuple[int, float | None]:
    """Number of layers and tolerance. Values that are given do not change."""
    if num_layers is not None:
        return num_layers, tol
    return MOST_LAYERS, TOLERANCE if tol is None else tol
