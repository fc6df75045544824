"""Plots of a network: rates by layer, and eigenvalues of operators."""

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from redunet.construction.construction import RateHistory
from redunet.inspection.style import PALETTE, class_style, given_or_new, literal
from redunet.network import ReduNet


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


@torch.no_grad()
def plot_eigenvalues(net: ReduNet, layer: int = -1, *, ax: Axes | None = None) -> Axes:
    """Plot the eigenvalues of E and of each γ_j Cʲ of a layer, in descending order.

    The eigenvalues of all frequencies are plotted together. All of them are at most α, which is the
    dotted line. For E, a direction with eigenvalue α is one in which there are no samples; E
    expands the samples into it. For γ_j Cʲ, it is a direction in which class j has no samples; Cʲ
    compresses class j along it. The smaller an eigenvalue, the more the samples fill its direction.

    Parameters
    ----------
    net : ReduNet
        The network.
    layer : int
        Index of the layer; by default the last.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 14, 15 and 18.
    """
    ax = given_or_new(ax)
    chosen = net.layers[layer]
    proportions = chosen.proportions[:, None, None]
    expansion, compression = chosen.operators.matrices()
    by_class = torch.linalg.eigvalsh(compression * proportions).transpose(0, 1).flatten(1)
    for number, (label, values) in enumerate(zip(net.classes_, by_class, strict=True)):
        name = f"$\\gamma_j C^j$, class {literal(label)}"
        (line,) = ax.plot(*_numbered(values), label=name, **class_style(number))
        line.set(markersize=4, markevery=0.15, linewidth=1)
    values = torch.linalg.eigvalsh(expansion)
    ax.plot(*_numbered(values), color="black", linewidth=2, label="$E$")
    ax.axhline(chosen.alpha.item(), color="black", linestyle=":", linewidth=1, label=r"$\alpha$")
    ax.locator_params(axis="x", integer=True)
    title = f"Operators of layer {range(1, len(net.layers) + 1)[layer]}"
    ax.set(xlabel="index of the eigenvalue", ylabel="eigenvalue", yscale="log", title=title)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.5)
    return ax


def _numbered(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from 1, and values in descending order."""
    values = values.flatten().sort(descending=True).values
    return np.arange(1, len(values) + 1), values.cpu().numpy()
