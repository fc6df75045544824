"""Plots of images by their features: principal directions of classes, and nearest images."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import FigureBase
from torch import Tensor
from torch.nn.functional import normalize

from redunet._checks import Array, as_samples
from redunet._labels import as_labels
from redunet.inspection.axes import literal
from redunet.inspection.plots.similarity import cosine_similarity

# Width and height of an image in inches: the largest one, which up to eight images in a row have,
# the smallest one, and the space for names beside the images.
LARGEST, SMALLEST, MARGIN = 0.7, 0.45, 1.2

# Rows are no wider than this, unless their images would be smaller than the smallest ones.
WIDTH = 6.8


def plot_principal_images(
    X: Array,
    Z: Array,
    labels: Array,
    *,
    label: object = None,
    components: int = 10,
    images: int = 10,
    figure: FigureBase | None = None,
) -> np.ndarray:
    """Draw the images whose features are most coherent with a principal direction of their class.

    By default each row belongs to a class, and shows the most coherent image for each principal
    direction. With ``label``, each row belongs to a principal direction of that class, and shows
    the most coherent images.

    Parameters
    ----------
    X : array-like or Tensor of shape (m, H, W), (m, 1, H, W) or (m, 3, H, W)
        Images. The values of colour images are between 0 and 1.
    Z : array-like or Tensor of shape (m, …)
        Features of the images.
    labels : array-like or Tensor of shape (m,)
    label : optional
        Label of the only class to draw; by default all classes are drawn.
    components : int
        Largest number of principal directions.
    images : int
        Largest number of images per direction, if ``label`` is given.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of matplotlib Axes, of shape (classes, components) or (components, images)

    Raises
    ------
    ValueError
        If no sample has the ``label``, or ``X`` does not contain images.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figure 20; with ``label``, Figure 13.
    """
    X, Z, labels = (
        _as_images(X),
        as_samples(Z, name="Z").detach().flatten(1),
        as_labels(labels, len(Z)),
    )
    if label is None:
        names = np.unique(labels)
        rows = [_coherent(Z, labels == name, components)[:, 0] for name in names]
        titles = [f"class {name}" for name in names]
    else:
        if label not in labels:
            raise ValueError(f"no sample has label {label!r}; labels are {np.unique(labels)}")
        rows = list(_coherent(Z, labels == label, components)[:, :images])
        titles = [f"class {label}, direction {number}" for number in range(1, len(rows) + 1)]
    axes = _grid(figure, len(rows), max(map(len, rows)))
    for row, chosen, title in zip(axes, rows, titles, strict=True):
        _draw_row(row, X[chosen], title)
    return axes


def plot_nearest_images(
    query: tuple[Array, Array],
    others: tuple[Array, Array],
    *,
    images: int = 9,
    figure: FigureBase | None = None,
) -> np.ndarray:
    """Draw images in frames, each followed by the images with the most coherent features.

    Applied to all shifts of a test image and all shifts of training images, this shows
    equivariance: the nearest images are shifted in the same way as the image itself.

    Parameters
    ----------
    query : tuple of images (q, H, W) or (q, C, H, W), and features (q, …)
        The images in frames, and their features. C is 1 or 3.
    others : tuple of images (m, …) and features (m, …)
        The images among which the nearest are chosen, and their features.
    images : int
        Largest number of nearest images per row.
    figure : matplotlib Figure or SubFigure, optional
        Figure to draw on; by default a new one.

    Returns
    -------
    numpy array of matplotlib Axes, of shape (q, 1 + images)

    Raises
    ------
    ValueError
        If the first entry of ``query`` or ``others`` does not contain images.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), Figure 30.
    """
    queries, candidates = _as_images(query[0]), _as_images(others[0])
    similarity = cosine_similarity(query[1], others[1])
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :images]
    axes = _grid(figure, len(queries), 1 + nearest.shape[1])
    for row, image, chosen in zip(axes, queries, nearest, strict=True):
        _draw_row(row, np.concatenate([image[None], candidates[chosen]]))
        row[0].spines[:].set(visible=True, color="#D55E00", linewidth=2)
    axes[0, 0].set_title("image", fontsize="medium")
    if nearest.shape[1]:
        axes[0, 1].set_title("nearest", fontsize="medium")
    return axes


def _coherent(Z: Tensor, members: np.ndarray, components: int) -> np.ndarray:
    """Samples of a class in descending order of |cos| with each direction, (components, m_j)."""
    places = np.flatnonzero(members)
    Z = Z[torch.as_tensor(places, device=Z.device)].double()
    directions = torch.linalg.svd(Z, full_matrices=False).Vh[:components]
    coherence = (directions @ normalize(Z).T).abs()
    return places[coherence.argsort(dim=1, descending=True, stable=True).cpu().numpy()]


def _as_images(X: Array) -> np.ndarray:
    """Grey images as ``(m, H, W)``, colour images as ``(m, H, W, 3)``."""
    X = as_samples(X, name="X").detach().cpu()
    if X.ndim == 4 and X.shape[1] in (1, 3):
        return (X[:, 0] if X.shape[1] == 1 else X.movedim(1, -1)).numpy()
    if X.ndim == 3:
        return X.numpy()
    shape = tuple(X.shape)
    raise ValueError(f"images have shape (m, H, W), (m, 1, H, W) or (m, 3, H, W), got {shape}")


def _grid(figure: FigureBase | None, rows: int, columns: int) -> np.ndarray:
    """Axes without ticks and frames, in rows and columns."""
    if figure is None:
        side = min(LARGEST, max(SMALLEST, (WIDTH - MARGIN) / columns))
        size = (side * columns + MARGIN, (side + 0.05) * rows + 0.3)
        figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return axes


def _draw_row(row: np.ndarray, images: np.ndarray, name: str = "") -> None:
    """Draw images from the left. Any further axes of the row stay empty."""
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image, cmap="gray_r" if image.ndim == 2 else None)
    row[0].set_ylabel(literal(name), rotation=0, ha="right", va="center")
