"""A diagram of a constructed network, with its true shapes."""

import math

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from torch import nn

from redunet.inspection.axes import given_or_new
from redunet.inspection.palette import PALETTE
from redunet.network import ReduNet

# Size of a box and gap between two boxes, in units of the axes.
BOX = (2.3, 1.5)
GAP = 0.55


def plot_architecture(net: ReduNet, *, ax: Axes | None = None) -> Axes:
    """Draw a network from left to right, and the steps of one of its layers below.

    Parameters
    ----------
    net : ReduNet
        The network to draw.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new figure, which is as wide as necessary.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 2, 6 and 7.
    """
    stages, parts = _stages(net), _parts_of_a_layer(net)
    width = max(len(stages), len(parts)) * (BOX[0] + GAP) - GAP
    ax = given_or_new(ax, figsize=(0.75 * width, 4.2))
    upper = _draw_chain(ax, stages, y=3.2, color=PALETTE[0])
    lower = _draw_chain(ax, parts, y=0, color=PALETTE[1])
    layers = upper[-3]  # the box before features and membership
    for corner, end in ((layers, lower[0]), (layers + BOX[0], lower[-1] + BOX[0])):
        ax.plot([corner, end], [3.2, BOX[1]], ":", color="0.6", linewidth=1)
    ax.set(xlim=(-0.1, width + 0.1), ylim=(-0.6, 5))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _stages(net: ReduNet) -> list[tuple[str, str]]:
    """Names of the stages of a network, with the shape of what each of them returns."""
    channels, *spatial = net.feature_shape
    settings = net.settings
    steps = f"η = {settings.eta:.3g}\nε² = {settings.eps_sq:.3g}"
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
    representation = layer.operators.description
    rule = layer.membership_rule
    name, compression = "compression", "\\mathrm{compression})$"
    if rule.has_class_weights:
        name, compression = "$\\hatπ(v)$", "Σ_jγ_j\\hatπ_jC^jv)$"
    return [
        ("$E\\,v$", f"{times}{shape}"),
        ("$C^1v,\\ …,\\ C^k v$", f"{k} × {times}{shape}\n{representation}"),
        (name, rule.formula),
        ("step", f"$v + η\\,(Ev -$\n${compression}"),
        ("P$_S$", "scaled to norm 1"),
    ]


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) + (f"\n= {math.prod(shape)}" if len(shape) > 1 else "")


def _draw_chain(ax: Axes, boxes: list[tuple[str, str]], *, y: float, color: str) -> list[float]:
    """Draw boxes in a row with arrows between them; returns the left edge of each box."""
    starts = [i * (BOX[0] + GAP) for i in range(len(boxes))]
    arrow = {"arrowstyle": "-|>", "color": "0.4", "shrinkA": 2, "shrinkB": 2}
    for i, (x, (title, text)) in enumerate(zip(starts, boxes, strict=True)):
        frame = plt.matplotlib.patches.FancyBboxPatch(
            (x, y), *BOX, boxstyle="round,pad=0,rounding_size=0.15", edgecolor=color, facecolor="w"
        )
        ax.add_patch(frame)
        centre = x + BOX[0] / 2
        ax.text(centre, y + 0.78 * BOX[1], title, ha="center", va="center", color=color)
        ax.text(centre, y + 0.32 * BOX[1], text, ha="center", va="center", fontsize="small")
        if i:
            middle = y + BOX[1] / 2
            ax.annotate("", (x, middle), (x - GAP, middle), arrowprops=arrow)
    return starts
