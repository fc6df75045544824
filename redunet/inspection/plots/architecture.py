"""A diagram of a constructed network, with its true shapes."""

import math

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from torch import nn

from redunet.inspection.palette import PALETTE
from redunet.network import ReduNet

# In the units of the diagram's axes.
BOX = (2.3, 1.5)
GAP = 0.55


def plot_architecture(net: ReduNet, *, ax: Axes | None = None) -> Axes:
    """The network from left to right, and below it what happens in one of its layers.

    Parameters
    ----------
    net : ReduNet
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure, which is as wide as the network needs.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 2, 6 and 7.
    """
    stages, parts = _stages(net), _parts_of_a_layer(net)
    width = max(len(stages), len(parts)) * (BOX[0] + GAP) - GAP
    if ax is None:
        _, ax = plt.subplots(figsize=(0.75 * width, 4.2), layout="constrained")
    tops = _draw_chain(ax, stages, y=3.2, color=PALETTE[0])
    inside = _draw_chain(ax, parts, y=0, color=PALETTE[1])
    layers = tops[-3]  # before features and membership; opened below
    for corner, end in ((layers, inside[0]), (layers + BOX[0], inside[-1] + BOX[0])):
        ax.plot([corner, end], [3.2, BOX[1]], ":", color="0.6", linewidth=1)
    ax.set(xlim=(-0.1, width + 0.1), ylim=(-0.6, 5))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _stages(net: ReduNet) -> list[tuple[str, str]]:
    """What samples go through: a name, and what comes out of it."""
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
        kept = f"{len(net.spectrum)} of {net.spectrum.size}\nfrequencies × {channels}"
        stages.append(("Fourier, P$_S$", kept))
    else:
        stages.append(("P$_S$", f"{channels} numbers"))
    return [
        *stages,
        (f"{count} layer{'s' * (count > 1)}", steps),
        ("features", _shape(net.feature_shape)),
        ("membership", f"{len(net.classes_)} classes"),
    ]


def _parts_of_a_layer(net: ReduNet) -> list[tuple[str, str]]:
    """One layer, step by step, and the sizes of its operators."""
    channels, frequencies, k = net.feature_shape[0], len(net.spectrum), len(net.classes_)
    times = f"{frequencies} × " if frequencies > 1 else ""
    layer = net.layers[0]
    shape = f"({channels} × {channels})"
    representation = layer.operators.description
    return [
        ("$E\\,v$", f"{times}{shape}"),
        ("$C^1v,\\ …,\\ C^k v$", f"{k} × {times}{shape}\n{representation}"),
        ("$\\hatπ(v)$", layer.membership_rule.formula),
        ("step", "$v + η\\,(Ev -$\n$Σ_jγ_j\\hatπ_jC^jv)$"),
        ("P$_S$", "norm 1"),
    ]


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) + (f"\n= {math.prod(shape)}" if len(shape) > 1 else "")


def _draw_chain(ax: Axes, boxes: list[tuple[str, str]], *, y: float, color: str) -> list[float]:
    """Boxes in a row, with arrows between them; returns where each begins."""
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
