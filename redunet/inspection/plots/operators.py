"""Plots of the operators of a layer: eigenvalues and kernels."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from redunet.inspection.axes import given_or_new, literal
from redunet.inspection.palette import class_style
from redunet.network import ReduNet


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
        style = {"markersize": 4, "linewidth": 1, "markevery": 0.15, **class_style(number)}
        _draw_sorted(ax, values, label=f"$\\gamma_j C^j$, class {literal(label)}", **style)
    _draw_sorted(ax, torch.linalg.eigvalsh(expansion), color="black", linewidth=2, label="$E$")
    ax.axhline(chosen.alpha.item(), color="black", linestyle=":", linewidth=1, label=r"$\alpha$")
    ax.locator_params(axis="x", integer=True)
    title = f"Operators of layer {range(1, len(net.layers) + 1)[layer]}"
    ax.set(xlabel="index of the eigenvalue", ylabel="eigenvalue", yscale="log", title=title)
    spacing: dict[str, Any] = {"labelspacing": 0.3, "handlelength": 1.5}
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), **spacing)
    return ax


def _draw_sorted(ax: Axes, values: torch.Tensor, **style: Any) -> None:
    values = values.flatten().sort(descending=True).values.cpu()
    ax.plot(np.arange(1, len(values) + 1), values, **style)


@torch.no_grad()
def plot_kernels(
    net: ReduNet, layer: int = -1, *, channels: int = 4, figure: FigureBase | None = None
) -> np.ndarray:
    """Draw the operators of a layer as kernels of circular convolutions.

    There is one row for E and for each Cʲ, and one column for each channel. A column shows the
    kernel from that channel to itself. Near its centre a kernel is nearly α times a unit impulse,
    which is much larger than the other values. The centre is therefore left out (grey). The axes
    are distances from the centre. Each row has a scale of its own.

    The operators of a network on vectors are drawn as matrices without their diagonals.

    Parameters
    ----------
    net : ReduNet
        A network on vectors, 1-D signals or images.
    layer : int
        Index of the layer; by default the last.
    channels : int
        Largest number of channels to draw.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of matplotlib Axes, of shape (1 + k, channels)

    Raises
    ------
    ValueError
        If the signals have more than two spatial axes.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Propositions 4 and 5.
    """
    spatial = net.feature_shape[1:]
    if len(spatial) > 2:
        raise ValueError(f"kernels of up to two spatial axes can be drawn, got {spatial}")
    E, C = net.layers[layer].kernels()
    kernels = torch.cat([E[None], C]).cpu()
    count = min(channels, net.feature_shape[0]) if spatial else 1
    names = ["E", *(f"C, class {literal(label)}" for label in net.classes_)]
    if figure is None:
        size = (1.1 * count + 2.3, 1.1 * len(names) + 0.4)
        figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(names), count, squeeze=False)
    for row, name, operator in zip(axes, names, kernels, strict=True):
        pictures = [operator[i, i] for i in range(count)] if spatial else [operator]
        pictures = [_without_impulse(picture, is_matrix=not spatial) for picture in pictures]
        limit = max(np.nanmax(np.abs(picture), initial=0) for picture in pictures) or 1.0
        for ax, picture in zip(row, pictures, strict=True):
            _draw_kernel(ax, picture, limit)
        if row[0].images:
            figure.colorbar(row[0].images[0], ax=row, ticks=[-limit, 0, limit], format="%.2g")
        else:
            row[0].set_yticks([-limit, 0, limit], [f"{y:.2g}" for y in (-limit, 0, limit)])
            row[0].tick_params(labelsize="small")
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax in axes[-1]:
        _label_places(ax, spatial)
    for number, ax in enumerate(axes[0], 1):
        ax.set_title(f"channel {number}" if spatial else "without the diagonal", fontsize="small")
    return axes


def _without_impulse(kernel: torch.Tensor, *, is_matrix: bool) -> np.ndarray:
    """The kernel with its origin in the middle, or the matrix, without the part of the identity."""
    picture = kernel.double().numpy().copy()
    if is_matrix:
        np.fill_diagonal(picture, np.nan)
        return picture
    picture[(0,) * picture.ndim] = np.nan
    return np.fft.fftshift(picture)


def _label_places(ax: Axes, spatial: tuple[int, ...]) -> None:
    """Label the centre of a kernel and its ends below the axes."""
    if not spatial:
        return
    ends = (-(spatial[-1] // 2), 0, (spatial[-1] - 1) // 2)
    ax.set_xticks(ends, map(str, ends), fontsize="small")
    ax.set_xlabel("distance", fontsize="small")


def _draw_kernel(ax: Axes, picture: np.ndarray, limit: float) -> None:
    """Draw a kernel with two axes as an image, and a kernel with one axis as a curve."""
    ax.set(xticks=[], yticks=[])
    if picture.ndim == 2:
        height, width = (-(length // 2) - 0.5 for length in picture.shape)
        extent = (width, width + picture.shape[1], height + picture.shape[0], height)
        ax.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent)
        ax.set_facecolor("0.6")
    else:
        ax.plot(np.arange(len(picture)) - len(picture) // 2, picture, color="black", linewidth=0.8)
        ax.set_ylim(-1.1 * limit, 1.1 * limit)
