"""Explanations of single samples: residuals, memberships and steps, layer by layer."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, listed
from redunet._names import as_row
from redunet._precision import full_precision
from redunet.inspection.decision import Decision
from redunet.layers.layer import extrapolate, trajectory
from redunet.network import ReduNet
from redunet.rates.spectrum import norms
from redunet.training.fine_tuned import FineTuned

if TYPE_CHECKING:  # loaded on use
    from matplotlib.figure import FigureBase
    from pandas import DataFrame

# Number of classes in a printed table. They are the classes nearest to the sample.
PRINTED_CLASSES = 3


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
        π̂_j, as each layer estimates them from the residuals. If the network has a reader, the last
        ones are those of the network, which the reader has multiplied.
    expansion : numpy array (num_layers,)
        η ‖E v‖, the length of the part of the step that expands all samples.
    compression : numpy array (num_layers, k)
        η γ_j π̂_j ‖Cʲ v‖, the lengths of the parts that compress the classes.
    angles : numpy array (num_layers,)
        Angle by which each layer turns the sample, in degrees.
    decision : Decision
        Why the first layer prefers a class to the second one: the shares of frequencies, scales and
        places.
    label : optional
        The true label of the sample, if it is known. Tables and plots then show its class too.
    head_prediction : optional
        The class that the head of a fine-tuned network predicts; None without a head.
    """

    classes: np.ndarray
    residual_norms: np.ndarray
    memberships: np.ndarray
    expansion: np.ndarray
    compression: np.ndarray
    angles: np.ndarray
    decision: Decision
    label: Any = None
    head_prediction: Any = None

    @property
    def prediction(self) -> Any:
        """The class of largest membership in the last layer, or that of the head, if any."""
        if self.head_prediction is not None:
            return self.head_prediction
        return self.classes[self.memberships[-1].argmax()]

    def nearest_classes(self, count: int) -> list[int]:
        """Indices of the classes with the largest mean membership over all layers, in order."""
        closeness = self.memberships.mean(0)
        # If memberships round to zero, the residuals decide.
        order = np.lexsort((self.residual_norms.mean(0), -closeness))
        return order[:count].tolist()

    def shown_classes(self, count: int) -> list[int]:
        """The nearest classes; the true class takes the last place if it is not one of them."""
        nearest = self.nearest_classes(count)
        true = np.flatnonzero(self.classes == self.label).tolist()
        return nearest if set(true) <= set(nearest) else nearest[:-1] + true

    def plot(self, *, figure: "FigureBase | None" = None) -> np.ndarray:
        """Plot ‖Cʲv‖, the memberships and the parts of the step, layer by layer.

        The nearest classes have colours. If there is only one layer, bars show these classes.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, optional
            Figure to draw on; by default a new one.

        Returns
        -------
        numpy array of three matplotlib Axes
        """
        from redunet.inspection.plots.by_layer import draw_explanation

        return draw_explanation(self, figure)

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

        headers, rows = self.table(PRINTED_CLASSES)
        lines = [tabulate(rows, headers, floatfmt=".3f"), f"prediction: {self.prediction}"]
        if self.label is not None:
            lines.append(f"true class: {self.label}")
        return "\n".join(lines)

    def table(self, count: int) -> tuple[list[str], list[tuple[float, ...]]]:
        """Headers and rows of a table of each layer and a number of classes.

        Parameters
        ----------
        count : int
            Number of classes: the nearest ones, and the true class if ``label`` is known.

        Returns
        -------
        headers : list of str
            ``layer``, ``angle [deg]`` and ``‖ηEv‖``. For each class, ``‖Cv‖``, the ``membership``,
            and ``step``, the length of its part of the step.
        rows : list of tuple
        """
        headers = ["layer", "angle [deg]", "‖ηEv‖"]
        columns = [range(1, len(self.angles) + 1), self.angles, self.expansion]
        for j in self.shown_classes(count):
            headers += [f"{self.classes[j]}: ‖Cv‖", "membership", "step"]
            columns += [array[:, j] for array in self._by_class]
        return headers, list(zip(*columns, strict=True))

    @property
    def _by_class(self) -> tuple[np.ndarray, ...]:
        return self.residual_norms, self.memberships, self.compression


@torch.no_grad()
@full_precision
def explain(net: ReduNet | FineTuned, x: Array, *, label: Any = None) -> Explanation:
    """Explain what each layer of a network does to one sample.

    Parameters
    ----------
    net : ReduNet or FineTuned
        The network. A linear head of a fine-tuned network sees the features after the last layer
        and decides by itself; only its prediction is told.
    x : array-like or Tensor of shape net.sample_shape
        One sample, without an axis of samples.
    label : optional
        The true label of the sample. Tables and plots then always show its class.

    Returns
    -------
    Explanation
        You can print it, plot it, or convert it to a pandas DataFrame.

    Raises
    ------
    ValueError
        If the sample does not have the shape that the network takes. Also if the step of a layer is
        not a sum over classes that is weighted by memberships, as with ``membership="rectified"``,
        or ``label`` is not a label of the network.

    References
    ----------
    Chan et al., ReduNet (JMLR 2022), eqs. 22 to 24.

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
    head_prediction = None
    if isinstance(net, FineTuned):
        head_prediction, net = net.predict(as_row(x))[0], net.net
    X = net.samples(as_row(x))
    label = label.item() if isinstance(label, Tensor | np.generic) else label
    if label is not None and label not in net.classes_.tolist():
        raise ValueError(
            f"label must be one of the labels {listed(net.classes_, 'labels')}, got {label!r}"
        )
    for layer in net.layers:
        if not layer.membership_rule.has_class_weights:
            raise ValueError(
                "only steps that are weighted by memberships can be explained, not those of "
                f"{layer.membership_rule}"
            )
    (V,) = net.encode(X)
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
    by_layer[-1:] = net.pool(by_layer[-1:], X)
    return Explanation(
        net.classes_,
        residual_norms=residual_norms.cpu().numpy(),
        memberships=by_layer.cpu().numpy(),
        expansion=torch.stack(expansion).cpu().numpy(),
        compression=compression.cpu().numpy(),
        angles=np.array(angles),
        decision=Decision.from_network(net, X[0]),
        label=label,
        head_prediction=head_prediction,
    )


def _angle(U: Tensor, V: Tensor) -> float:
    """Angle between two half spectra of unit norm, in degrees; accurate for small angles too."""
    half = norms(U - V)[0] / 2
    return math.degrees(2 * math.asin(min(1.0, half.item())))
