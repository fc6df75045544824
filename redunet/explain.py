"""Why a sample ends where it does: what each layer sees of it, and what moves it."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import FigureBase
from tabulate import tabulate
from torch import Tensor

from redunet.checks import as_tensor, check_sample_shape
from redunet.layer import extrapolated, trajectory
from redunet.membership import soft_membership
from redunet.network import ReduNet
from redunet.plots import plot_explanation
from redunet.spectrum import norms

if TYPE_CHECKING:
    from pandas import DataFrame

# Classes in a printed table, of those nearest to the sample.
PRINTED_CLASSES = 3


@dataclass(frozen=True)
class Explanation:
    """One sample on its way through the layers; see :func:`explain`.

    A layer moves the sample by η (E v − Σ_j γ_j π̂_j Cʲ v). What E adds points away from all
    samples, what class j takes away is what of the sample lies outside of the class.

    Attributes
    ----------
    classes : numpy array (k,)
        The network's labels.
    residual_norms : numpy array (num_layers, k)
        ‖Cʲ v‖ against every class: the smaller, the better the sample fits in.
    memberships : numpy array (num_layers, k)
        π̂_j, as each layer estimates them from the residuals.
    expansion : numpy array (num_layers,)
        η ‖E v‖, length of the part of the step that expands all samples.
    compression : numpy array (num_layers, k)
        η γ_j π̂_j ‖Cʲ v‖, lengths of the parts that compress the classes.
    angles : numpy array (num_layers,)
        By how much each layer turned the sample, in degrees.
    """

    classes: np.ndarray
    residual_norms: np.ndarray
    memberships: np.ndarray
    expansion: np.ndarray
    compression: np.ndarray
    angles: np.ndarray

    @property
    def prediction(self) -> Any:
        """The class of largest membership in the last layer."""
        return self.classes[self.memberships[-1].argmax()]

    def nearest_classes(self, count: int) -> list[int]:
        """Columns of the classes of largest membership on average over the layers, descending."""
        closeness = self.memberships.mean(0)
        # Where memberships round to zero, the residuals decide.
        order = np.lexsort((self.residual_norms.mean(0), -closeness))
        return order[:count].tolist()

    def plot(self, *, figure: FigureBase | None = None) -> np.ndarray:
        """Draw it; see :func:`redunet.plots.plot_explanation`."""
        return plot_explanation(self, figure=figure)

    def to_frame(self) -> "DataFrame":
        """A row for each layer and class, with all that is known of them.

        Returns
        -------
        pandas DataFrame
            Indexed by ``layer`` and ``class``; columns ``residual_norm``, ``membership``,
            ``compression``, and ``expansion`` and ``angle``, which are the layer's.

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
        """A table of the layers, with the classes that are nearest to the sample."""
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
def explain(net: ReduNet, x: Any) -> Explanation:
    """What each layer of a network does to one sample.

    Parameters
    ----------
    net : ReduNet
    x : array-like or Tensor of shape net.sample_shape
        One sample, without an axis of samples.

    Returns
    -------
    Explanation
        Print it, plot it, or make a pandas DataFrame of it.

    Raises
    ------
    ValueError
        If the sample's shape is another, or the layers are rectified (``assignment="relu"``), whose
        step has no memberships.

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
    if net.settings.assignment != "softmax":
        raise ValueError("only steps with memberships can be explained, not assignment='relu'")
    (V,) = net._spectra(x[None])
    residuals, expansion, angles = [], [], []
    states = trajectory(V, net.layers)
    for layer, (before, after) in zip(net.layers, pairwise(states), strict=True):
        point = extrapolated(*before, layer.momentum)
        residuals.append(layer.residual_norms(point)[0])
        expansion.append(layer.eta * norms(layer.operators.expand(point))[0])
        angles.append(_angle(before[0], after[0]))
    residual_norms = torch.stack(residuals)
    memberships = soft_membership(residual_norms, net.settings.lam)
    weights = torch.stack([layer.eta * layer.proportions for layer in net.layers])
    arrays = (
        residual_norms,
        memberships,
        torch.stack(expansion),
        weights * memberships * residual_norms,
    )
    return Explanation(net.classes_, *(t.cpu().numpy() for t in arrays), np.array(angles))


def _angle(U: Tensor, V: Tensor) -> float:
    """Between two half spectra of unit norm, in degrees; exact for small angles too."""
    half = norms(U - V)[0] / 2
    return math.degrees(2 * math.asin(min(1.0, half.item())))
