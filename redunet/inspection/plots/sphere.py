"""Plots of samples on the circle S¹ or the sphere S², and of their paths through a network."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from mpl_toolkits.mplot3d.axes3d import Axes3D

from redunet._checks import Array, as_samples
from redunet._labels import as_labels
from redunet.inspection.axes import draw_legend, entry
from redunet.inspection.palette import class_style
from redunet.network import ReduNet

# Radius at which paths on the circle begin. Later layers have larger radii, so that the parts of a
# path do not overlap.
INNER_RADIUS = 0.35


def plot_sphere(Z: Array, labels: Array, *, subspace_dim: int = 0, ax: Axes | None = None) -> Axes:
    """Scatter of samples on the circle S¹ or the sphere S², coloured by class.

    Parameters
    ----------
    Z : array-like or Tensor of shape (m, 2) or (m, 3)
    labels : array-like or Tensor of shape (m,)
    subspace_dim : {0, 1, 2}
        Dimension of the principal subspace that is drawn for each class: 1 for a line through the
        origin, 2 for the great circle of a plane, 0 for none.
    ax : matplotlib Axes, optional
        Axes to draw on, with projection "3d" for the sphere; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If samples do not have two or three coordinates, or if ``subspace_dim`` is not smaller than
        the number of coordinates.
    TypeError
        If samples on the sphere are drawn on two-dimensional axes.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figures 15, 28 and 29.
    """
    Z, labels = as_samples(Z, name="Z").detach().cpu().numpy(), as_labels(labels, len(Z))
    dim = _checked_dim(Z)
    if not 0 <= subspace_dim < dim:
        raise ValueError(
            f"subspace_dim must be from 0 to {dim - 1} on S{dim - 1}, got {subspace_dim}"
        )
    ax = _axes(dim) if ax is None else ax
    _draw_unit(ax, dim)
    for label, style in _class_styles(labels):
        samples = Z[labels == label]
        _scatter(ax, samples, label=entry(label), s=18, alpha=0.7, **style)
        if subspace_dim:
            line = _moderate_scale_subspace(samples, subspace_dim)
            ax.plot(*line.T, color=style["color"], linewidth=1.5)
    _finish(ax, dim)
    return ax


def plot_paths(net: ReduNet, X: Array, labels: Array, *, ax: Axes | None = None) -> Axes:
    """Draw the paths of samples through the layers, on the circle S¹ or the sphere S².

    Paths begin at small points and end at large points. On the circle, each layer is drawn a little
    further outwards than the layer before, and the last layer lies on the circle itself.

    Parameters
    ----------
    net : ReduNet
        A network whose features have two or three dimensions.
    X : array-like or Tensor of shape (m, *net.sample_shape)
    labels : array-like or Tensor of shape (m,)
    ax : matplotlib Axes, optional
        Axes to draw on, with projection "3d" for the sphere; by default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the features do not have two or three coordinates.
    TypeError
        If samples on the sphere are drawn on two-dimensional axes.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figure 15, which shows the beginnings and the ends.
    """
    with torch.no_grad():
        paths = torch.stack(list(net.trajectory(X))).flatten(2).cpu().numpy()  # (L + 1, m, n)
    labels, dim = as_labels(labels, paths.shape[1]), _checked_dim(paths[0])
    if dim == 2:
        paths = paths * np.linspace(INNER_RADIUS, 1, len(paths))[:, None, None]
    ax = _axes(dim) if ax is None else ax
    _draw_unit(ax, dim)
    for label, style in _class_styles(labels):
        class_paths = paths[:, labels == label]
        # One line draws all paths of the class. NaN separates them.
        gap = np.full_like(class_paths[:1], np.nan)
        line = np.concatenate([class_paths, gap]).swapaxes(0, 1).reshape(-1, dim)
        ax.plot(*line.T, color=style["color"], linewidth=0.7, alpha=0.5)
        _scatter(ax, class_paths[0], s=4, color=style["color"])
        _scatter(ax, class_paths[-1], label=entry(label), s=22, **style)
    _finish(ax, dim)
    return ax


def _checked_dim(Z: np.ndarray) -> int:
    if Z.ndim != 2 or Z.shape[1] not in (2, 3):
        raise ValueError(f"samples on S¹ or S² have shape (m, 2) or (m, 3), got {Z.shape}")
    return Z.shape[1]


def _axes(dim: int) -> Axes:
    projection = {} if dim == 2 else {"projection": "3d"}
    return plt.subplots(layout="constrained", subplot_kw=projection)[1]


def _class_styles(labels: np.ndarray) -> list[tuple[object, dict[str, Any]]]:
    """Labels of the classes, with the colour and the marker of each."""
    return [(label, class_style(number)) for number, label in enumerate(np.unique(labels))]


def _moderate_scale_subspace(samples: np.ndarray, dim: int) -> np.ndarray:
    """The part of a principal line within the sphere, or the great circle of a plane."""
    directions = np.linalg.svd(samples, full_matrices=False)[2][:dim]
    if dim == 1:
        return np.concatenate([directions, -directions])
    turn = np.linspace(0, 2 * np.pi, 121)
    return np.stack([np.cos(turn), np.sin(turn)], 1) @ directions


def _draw_unit(ax: Axes, dim: int) -> None:
    """Draw the circle or the sphere on which the samples lie."""
    turn = np.linspace(0, 2 * np.pi, 61)
    if dim == 2:
        ax.plot(np.cos(turn), np.sin(turn), color="0.8", linewidth=1, zorder=0)
        return
    sphere = _in_space(ax)
    sphere.set_axis_off()
    sphere.view_init(elev=25, azim=35)  # towards the octant with positive coordinates
    tilt = np.linspace(0, np.pi, 31)
    x, y = np.outer(np.cos(turn), np.sin(tilt)), np.outer(np.sin(turn), np.sin(tilt))
    z = np.outer(np.ones_like(turn), np.cos(tilt))
    sphere.plot_wireframe(x, y, z, color="0.85", linewidth=0.4, rcount=13, ccount=9, zorder=0)


def _scatter(ax: Axes, points: np.ndarray, **style: Any) -> None:
    """Draw points ``(m, 2)`` or ``(m, 3)``."""
    if points.shape[1] == 2:
        ax.scatter(points[:, 0], points[:, 1], linewidths=0, **style)
    else:
        _in_space(ax).scatter(points[:, 0], points[:, 1], points[:, 2], linewidths=0, **style)


def _in_space(ax: Axes) -> Axes3D:
    """The axes, which must be three-dimensional."""
    if not isinstance(ax, Axes3D):
        raise TypeError('the sphere needs axes of projection "3d"')
    return ax


def _finish(ax: Axes, dim: int) -> None:
    """Set equal scales, and place the legend where there are no samples."""
    ax.set_aspect("equal")
    if dim == 2:
        draw_legend(ax, title="class", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    else:
        _in_space(ax).set_box_aspect((1, 1, 1), zoom=1.4)
        draw_legend(ax, title="class", loc="upper left", frameon=False)
