"""Settings that follow the data: the only place where default values of a construction are defined.

The reasons and the measurements behind them are in docs/choosing.md.
"""

# ε² of vectors. Shift-invariant operators are the dense circulant ones at ε² times the number of
# frequencies, so ε² of signals is divided by that number.
EPS_SQ_OF_VECTORS = 0.5

# The step ηα of a layer. Steps from 1 to 4 reach in 10 layers the rate reduction that the step of
# the papers reaches in 100; beyond 5, features of new samples can become meaningless.
STEP = 2.0

# Without a number of layers, the construction stops when a layer raises ΔR by less than 1 %, and
# after 50 layers at the latest.
TOLERANCE = 0.01
MOST_LAYERS = 50


def default_eps_sq(frequencies: int) -> float:
    """ε² for signals of so many frequencies in the full spectrum (1 for vectors)."""
    return EPS_SQ_OF_VECTORS / frequencies


def default_eta(alpha: float) -> float:
    """η for a step ηα of 2, with α = C/(mε²)."""
    return STEP / alpha


def default_depth(num_layers: int | None, tol: float | None) -> tuple[int, float | None]:
    """Number of layers and tolerance, where a value that is given stays as it is."""
    if num_layers is not None:
        return num_layers, tol
    return MOST_LAYERS, TOLERANCE if tol is None else tol
