"""Explanations of single samples: residuals, memberships and steps, layer by layer."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, as_tensor, check_sample_shape
from redunet.inspection.decision import Decision
from redunet.layers.layer import extrapolate, trajectory
from redunet.network import ReduNet
from redunet.rates.spectrum import norms

if TYPE_CHECKING:  # loaded on use
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase
    from pandas import DataFrame

# Number of classes in a printed table. They are the classes nearest to the sample.
PRINTED_CLASSES = 3

# Number of classes that have colours in a plot. The other classes are grey.
NAMED_CLASSES = 5


@dataclass(frozen=True)
class Explanation:
    """Residuals, memberships and steps of one sample in each layer; see :func:`explain`.

    A layer moves the sample by η (E v − Σ_j γ_j π̂_j Cʲ v). The term E v points away from all
    samples. The term Cʲ v is the part of the sample that lies outside of class j; the step
    subtracts it.

    Attributes
    ----------
    classes : numpy array (k,)
        The labels of the network.
    residual_norms : numpy array (num_layers, k)
        ‖Cʲ v‖ for each class. The smaller it is, the better the sample fits the class.
    memberships : numpy array (num_layers, k)
        π̂_j, as each layer estimates them from the residuals.
    expansion : numpy array (num_layers,)
        η ‖E v‖, the length of the part of the step that expands all samples.
    compression : numpy array (num_layers, k)
        η γ_j π̂_j ‖Cʲ v‖, the lengths of the parts that compress the classes.
    angles : numpy array (num_layers,)
        Angle by which each layer turns the sample, in degrees.
    decision : Decision
        Why the first layer prefers a class to the second one: the shares of frequencies, scales and
        places.
    """

    classes: np.ndarray
    residual_norms: np.ndarray
    memberships: np.ndarray
    expansion: np.ndarray
    compression: np.ndarray
    angles: np.ndarray
    decision: Decision

    @property
    def prediction(self) -> Any:
        """The class of largest membership in the last layer."""
        return self.classes[self.memberships[-1].argmax()]

    def nearest_classes(self, count: int) -> list[int]:
        """Indices of the classes with the largest mean membership over all layers, in order."""
        closeness = self.memberships.mean(0)
        # If memberships round to zero, the residuals decide.
        order = np.lexsort((self.residual_norms.mean(0), -closeness))
        return order[:count].tolist()

    def plot(self, *, figure: "FigureBase | None" = None) -> np.ndarray:
        """Plot ‖Cʲv‖, the memberships and the parts of the step, layer by layer.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, optional
            Figure to draw on; by default a new one.

        Returns
        -------
        numpy array of three matplotlib Axes
        """
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(12, 3.6), layout="constrained") if figure is None else figure
        axes: np.ndarray = figure.subplots(1, 3)
        layers = np.arange(1, len(self.memberships) + 1)
        self._draw_classes(axes[0], layers, self.residual_norms)
        axes[0].set(title="Residual for each class", ylabel=r"$\|C^j v\|$")
        self._draw_classes(axes[1], layers, self.memberships)
        axes[1].set(title="Membership", ylabel=r"$\hat\pi_j$", ylim=(-0.03, 1.03))
        axes[2].plot(layers, self.expansion, color="black", linewidth=2, label="$E$")
        self._draw_classes(axes[2], layers, self.compression)
        axes[2].set(title="Parts of the step", ylabel="length", ylim=(0, None))
        axes[2].legend(
            title="$E$ and classes", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)
        )
        for ax in axes:
            ax.set_xlabel("layer")
            ax.locator_params(axis="x", integer=True)
        return axes

    def _draw_classes(self, ax: "Axes", layers: np.ndarray, values: np.ndarray) -> None:
        """Draw a curve for each class. The classes nearest to the sample have colours."""
        from redunet.inspection.palette import MARKERS, class_colors

        named = self.nearest_classes(NAMED_CLASSES)
        colors = dict(zip(named, class_colors(len(named)), strict=True))
        marks = len(layers) <= 30
        for j in sorted(range(values.shape[1]), key=lambda j: (j in colors, j)):
            style: dict[str, Any] = {"color": "0.8", "linewidth": 0.8}
            if j in colors:
                marker = MARKERS[named.index(j) % len(MARKERS)] if marks else ""
                style = {"color": colors[j], "linewidth": 1.5, "marker": marker, "markersize": 4}
                style["label"] = str(self.classes[j])
            ax.plot(layers, values[:, j], **style)

    def to_frame(self) -> "DataFrame":
        """Convert the explanation to a table with one row for each layer and class.

        Returns
        -------
        pandas DataFrame
            The index is ``layer`` and ``class``. The columns are ``residual_norm``,
            ``membership``, ``compression``, ``expansion`` and ``angle``. The last two are equal for
            all classes of a layer.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        from pandas import DataFrame, MultiIndex

        layers = range(1, len(self.angles) + 1)
        index = MultiIndex.from_product([layers, self.classes], names=["layer", "class"])
        columns = {
            "residual_norm": self.residual_norms.ravel(),
            "membership": self.memberships.ravel(),
            "compression": self.compression.ravel(),
            "expansion": self.expansion.repeat(len(self.classes)),
            "angle": self.angles.repeat(len(self.classes)),
        }
        return DataFrame(columns, index)

    def __str__(self) -> str:
        """A table with a row for each layer, and columns for the classes nearest to the sample."""
        from tabulate import tabulate

        shown = self.nearest_classes(PRINTED_CLASSES)
        headers = ["layer", "angle [deg]", "‖ηEv‖"]
        columns = [range(1, len(self.angles) + 1), self.angles, self.expansion]
        for j in shown:
            name = self.classes[j]
            headers += [f"{name}: ‖Cv‖", "π̂", "‖ηγπ̂Cv‖"]
            columns += [array[:, j] for array in self._by_class]
        table = tabulate(list(zip(*columns, strict=True)), headers, floatfmt=".4f")
        return f"{table}\nprediction: {self.prediction}"

    @property
    def _by_class(self) -> tuple[np.ndarray, ...]:
        return self.residual_norms, self.memberships, self.compression


@torch.no_grad()
def explain(net: ReduNet, x: Array) -> Explanation:
    """Explain what each layer of a network does to one sample.

    Parameters
    ----------
    net : ReduNet
    x : array-like or Tensor of shape net.sample_shape
        One sample, without an axis of samples.

    Returns
    -------
    Explanation
        You can print it, plot it, or convert it to a pandas DataFrame.

    Raises
    ------
    ValueError
        If the sample does not have the shape that the network takes. Also if the step of a layer is
        not a sum over classes that is weighted by memberships, as with ``membership="rectified"``.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 22 to 25.

    Examples
    --------
    >>> from redunet import ReduNet, datasets, explain
    >>> X, labels = datasets.gaussians(ndim=2, per_class=50)
    >>> net = ReduNet.construct(X, labels, num_layers=20)
    >>> explanation = explain(net, X[0])
    >>> print(explanation.prediction)
    0
    >>> print(explanation.memberships[-1].round(2))
    [1. 0.]
    """
    x = as_tensor(x)
    check_sample_shape(x[None], net.sample_shape)
    for layer in net.layers:
        if not layer.membership_rule.has_class_weights:
            raise ValueError(
                "only steps that are weighted by memberships can be explained, not those of "
                f"{layer.membership_rule}"
            )
    (V,) = net.encode(x[None])
    residuals, memberships, expansion, angles = [], [], [], []
    states = trajectory(V, net.layers)
    for layer, (before, after) in zip(net.layers, pairwise(states), strict=True):
        point = extrapolate(*before, layer.momentum)
        norms_by_class = layer.residual_norms(point)
        residuals.append(norms_by_class[0])
        memberships.append(layer.assign(norms_by_class)[0])
        expansion.append(layer.eta * norms(layer.operators.expand(point))[0])
        angles.append(_angle(before[0], after[0]))
    residual_norms, by_layer = torch.stack(residuals), torch.stack(memberships)
    weights = torch.stack([layer.eta * layer.proportions for layer in net.layers])
    compression = weights * by_layer * residual_norms
    return Explanation(
        net.classes_,
        residual_norms=residual_norms.cpu().numpy(),
        memberships=by_layer.cpu().numpy(),
        expansion=torch.stack(expansion).cpu().numpy(),
        compression=compression.cpu().numpy(),
        angles=np.array(angles),
        decision=Decision.from_network(net, x),
    )


def _angle(U: Tensor, V: Tensor) -> float:
    """Angle between two half spectra of unit norm, in degrees; accurate for small angles too."""
    half = norms(U - V)[0] / 2
    return math.degrees(2 * math.asin(min(1.0, half.item())))
