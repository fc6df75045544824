"""A diagram of a constructed network, with its true shapes."""

import math
from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from torch import nn

from redunet.inspection.axes import given_or_new
from redunet.inspection.palette import PALETTE
from redunet.inspection.text import three_digits
from redunet.network import ReduNet

# Size of a box, and gaps beside and below it, in inches.
BOX = (2.0, 0.86)
GAPS = (0.55, 0.3)

# Number of blocks whose representation is written out.
NAMED_BLOCKS = 2


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
    representation = _shortened(layer.operators.description)
    rule = layer.membership_rule
    name, compression = "compression", "\\mathrm{compression})$"
    if rule.has_class_weights:
        name, compression = r"$\hat{\pi}(v)$", r"\Sigma_j\,\gamma_j\hat{\pi}_j\,C^jv)$"
    return [
        ("$E\\,v$", f"{times}{shape}"),
        ("$C^1v,\\ …,\\ C^k v$", f"{k} × {times}{shape}\n{representation}"),
        (name, rule.formula),
        ("step", f"$v + η\\,(Ev -$\n${compression}"),
        ("P$_S$", "scaled to norm 1"),
    ]


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) + (f"\n= {math.prod(shape)}" if len(shape) > 1 else "")


def _shortened(ranks: str) -> str:
    """The representation of the first blocks, and the number of all blocks."""
    parts = ranks.split(" + ")
    if len(parts) <= NAMED_BLOCKS:
        return ranks
    if len(set(parts)) == 1:
        return f"{len(parts)} blocks, {parts[0]}"
    return f"{len(parts)} blocks: " + ", ".join(parts[:NAMED_BLOCKS]) + ", …"


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
