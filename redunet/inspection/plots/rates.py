"""Plot of the rates by layer."""

from matplotlib.axes import Axes

from redunet.construction.construction import RateHistory
from redunet.inspection.axes import given_or_new
from redunet.inspection.palette import PALETTE


def plot_rates(history: RateHistory, *, ax: Axes | None = None) -> Axes:
    """Plot ΔR, R and R_c before the first layer and after each layer.

    R is the rate of all samples together. R_c is the rate if each class is coded separately. Layers
    raise the difference ΔR = R − R_c. R_c usually rises too, because each class spreads within its
    own subspace; R rises by more, because these subspaces become orthogonal.

    Parameters
    ----------
    history : RateHistory
        The history of a network, ``net.history``. Validation rates are drawn as dashed lines.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 15(c), 16(d) and 16(h).
    """
    ax = given_or_new(ax)
    histories = [("", history, "-"), (" (validation)", history.validation, "--")]
    for suffix, rates, style in histories:
        if rates is None:
            continue
        layers = range(len(rates.delta))
        for values, name, color in (
            (rates.delta, r"$\Delta R = R - R_c$", PALETTE[0]),
            (rates.expansion, "$R$, all together", PALETTE[1]),
            (rates.compression, "$R_c$, class by class", PALETTE[2]),
        ):
            ax.plot(layers, values, style, color=color, label=name + suffix)
    ax.set(xlabel="layer", ylabel="rate [nats]", title="Rate reduction, layer by layer")
    ax.locator_params(axis="x", integer=True)
    columns = 3 if history.validation is None else 2
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=columns,
        frameon=False,
        columnspacing=1.0,
        handlelength=1.2,
    )
    return ax
