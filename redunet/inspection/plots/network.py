"""Plots of a network: a diagram with its true shapes, rates by layer, and eigenvalues."""

import math
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from redunet.construction.construction import RateHistory
from redunet.inspection.style import PALETTE, class_style, given_or_new, literal
from redunet.inspection.text import three_digits
from redunet.network import ReduNet

# Size of a box, and gaps beside and below it, in inches.
BOX = (2.0, 0.86)
GAPS = (0.55, 0.3)


def plot_architecture(net: ReduNet, *, ax: Axes | None = None) -> Axes:
    """Draw a network from top to bottom, and the steps of one of its layers beside it.

    Parameters
    ----------
    net : ReduNet
        The network to draw.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure, which is as large as necessary.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 6(a) and 11.
    """
    stages, parts = _stages(net), _parts_of_a_layer(net)
    width = 2 * BOX[0] + GAPS[0]
    height = max(len(stages), len(parts)) * (BOX[1] + GAPS[1]) - GAPS[1]
    ax = given_or_new(ax, figsize=(width + 0.3, height + 0.3))
    ax.set(xlim=(-0.05, width + 0.05), ylim=(-0.05, height + 0.05))
    ax.set_aspect("equal")
    ax.set_axis_off()
    left = _draw_chain(ax, stages, x=0, height=height, color=PALETTE[0])
    right = _draw_chain(ax, parts, x=BOX[0] + GAPS[0], height=height, color=PALETTE[1])
    layers = left[-3]  # the box before features and membership
    for corner, end in ((layers + BOX[1], right[0] + BOX[1]), (layers, right[-1])):
        ax.plot([BOX[0], BOX[0] + GAPS[0]], [corner, end], ":", color="0.6", linewidth=1)
    _fit(ax)
    return ax


def _stages(net: ReduNet) -> list[tuple[str, str]]:
    """Names of the stages of a network, with the shape of what each of them returns."""
    channels, *spatial = net.feature_shape
    settings = net.settings
    eps_sq = settings.eps_sq_for(net.spectrum.size)
    steps = f"η = {three_digits(settings.longest_eta)}\nε² = {three_digits(eps_sq)}"
    if settings.momentum:
        steps += f", β = {settings.momentum:g}"
    count = len(net.layers)
    stages = [("samples", _shape(net.sample_shape))]
    if net.lift is not None:
        lifts = net.lift if isinstance(net.lift, nn.Sequential) else [net.lift]
        names = " +\n".join(type(lift).__name__ for lift in lifts)
        stages.append((names, _shape(net.feature_shape)))
    if spatial:
        size = f"{len(net.spectrum)} of {net.spectrum.size}\nfrequencies × {channels}"
        stages.append(("Fourier, P$_S$", size))
    else:
        stages.append(("P$_S$", "scaled to norm 1"))
    return [
        *stages,
        (f"{count} layer{'s' * (count > 1)}", steps),
        ("features", _shape(net.feature_shape)),
        ("membership", f"{len(net.classes_)} classes"),
    ]


def _parts_of_a_layer(net: ReduNet) -> list[tuple[str, str]]:
    """Names of the steps of one layer, with the sizes of its operators."""
    channels, frequencies, k = net.feature_shape[0], len(net.spectrum), len(net.classes_)
    times = f"{frequencies} × " if frequencies > 1 else ""
    layer = net.layers[0]
    shape = f"({channels} × {channels})"
    rule = layer.membership_rule
    name, compression = "compression", "\\mathrm{compression})$"
    if not rule.rectifies:
        name, compression = r"$\hat{\pi}(v)$", r"\Sigma_j\,\gamma_j\hat{\pi}_j\,C^jv)$"
    return [
        ("$E\\,v$", f"{times}{shape}"),
        ("$C^1v,\\ …,\\ C^k v$", f"{k} × {times}{shape}\n{layer.operators.description}"),
        (name, rule.formula),
        ("step", f"$v + η\\,(Ev -$\n${compression}"),
        ("P$_S$", "scaled to norm 1"),
    ]


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) + (f"\n= {math.prod(shape)}" if len(shape) > 1 else "")


def _draw_chain(
    ax: Axes, boxes: list[tuple[str, str]], *, x: float, height: float, color: str
) -> list[float]:
    """Draw boxes from top to bottom with arrows between them; returns their lower edges."""
    edges = [height - BOX[1] - i * (BOX[1] + GAPS[1]) for i in range(len(boxes))]
    arrow = {"arrowstyle": "-|>", "color": "0.4", "shrinkA": 1, "shrinkB": 1}
    centre = x + BOX[0] / 2
    for y, (title, text) in zip(edges, boxes, strict=True):
        frame = plt.matplotlib.patches.FancyBboxPatch(
            (x, y), *BOX, boxstyle="round,pad=0,rounding_size=0.1", edgecolor=color, facecolor="w"
        )
        ax.add_patch(frame)
        ax.text(centre, y + 0.78 * BOX[1], title, ha="center", va="center", color=color)
        ax.text(centre, y + 0.34 * BOX[1], text, ha="center", va="center", fontsize="small")
    for upper, lower in pairwise(edges):
        ax.annotate("", (centre, lower + BOX[1]), (centre, upper), arrowprops=arrow)
    return edges


def _fit(ax: Axes) -> None:
    """Shrink each text that is wider than its box."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # constrained layout places the axes only now
    corners = ax.transData.transform([(0, 0), (0.94 * BOX[0], 0)])
    for text in ax.texts:
        width = text.get_window_extent().width
        if width > corners[1, 0] - corners[0, 0]:
            text.set_fontsize(text.get_fontsize() * (corners[1, 0] - corners[0, 0]) / width)


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
    dotted line. For E, a
    direction with eigenvalue α is one in which there are no samples; E expands the samples into it.
    For γ_j Cʲ, it is a direction in which class j has no samples; Cʲ compresses class j along it.
    The smaller an eigenvalue, the more the samples fill its direction.

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
