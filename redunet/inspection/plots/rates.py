"""Rates layer by layer."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from redunet.construction.construction import RateHistory
from redunet.inspection.palette import PALETTE


def plot_rates(history: RateHistory, *, ax: Axes | None = None) -> Axes:
    """ΔR, R and R_c before the first layer and after each one.

    Parameters
    ----------
    history : RateHistory
        ``net.history``; validation rates, if there are any, are drawn dashed.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 15(c), 16(d) and 16(h).
    """
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    both = [("", history, "-"), (" (validation)", history.validation, "--")]
    for suffix, rates, style in both:
        if rates is None:
            continue
        layers = range(len(rates.delta))
        ax.plot(layers, rates.delta, style, color=PALETTE[0], label=rf"$\Delta R${suffix}")
        ax.plot(layers, rates.expansion, style, color=PALETTE[1], label=f"$R${suffix}")
        ax.plot(layers, rates.compression, style, color=PALETTE[2], label=f"$R_c${suffix}")
    ax.set(xlabel="layer", ylabel="rate [nats]", title="Rate reduction, layer by layer")
    ax.locator_params(axis="x", integer=True)
    columns = 3 if history.validation is None else 2
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns, frameon=False)
    return ax
