"""Explanations of single samples: a decision, and what each layer does."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, quoted
from redunet._labels import Label, as_array
from redunet._names import as_row
from redunet._precision import full_precision
from redunet._tables import html_pairs, table
from redunet.inspection.decision import Decision
from redunet.layers.layer import extrapolate, trajectory
from redunet.network import ReduNet
from redunet.rates.spectrum import norms
from redunet.training.fine_tuned import FineTuned

# Number of classes in a printed table. They are the classes nearest to the sample.
PRINTED_CLASSES = 3


@dataclass(frozen=True, repr=False)
class Explanation:
    """Residuals, memberships and steps of one sample in each layer; see :func:`explain`.

    A layer moves the sample by η (E v − Σ_j γ_j π̂_j Cʲ v). The term E v points away from all
    samples. The term Cʲ v is the part of the sample that lies outside of class j; the step
    subtracts it.

    Attributes
    ----------
    decision : Decision
        Why the first layer prefers a class to another one: the shares of columns or channels, of
        places and frequencies. It compares the two nearest classes, or the nearest one with
        the true class if that is known.
    classes : numpy array (k,)
        The labels of the network.
    residuals : numpy array (num_layers, k)
        Relative residuals ‖Cʲ v‖/α_j for each class; see :class:`redunet.inspection.Decision`. The
        smaller it is, the better the sample fits the class.
    memberships : numpy array (num_layers, k)
        π̂_j, as each layer estimates them from the residuals. If the network has a reader, the last
        ones are those of the network, which the reader has multiplied.
    expansion : numpy array (num_layers,)
        η ‖E v‖, the length of the part of the step that expands all samples.
    compression : numpy array (num_layers, k)
        η γ_j π̂_j ‖Cʲ v‖, the lengths of the parts that compress the classes.
    angles : numpy array (num_layers,)
        Angle by which each layer turns the sample, in degrees.
    label : optional
        The true label of the sample, if it is known. Tables and plots then show its class too.
    head_prediction : optional
        The class that the head of a fine-tuned network predicts; None without a head.
    """

    decision: Decision
    classes: np.ndarray
    residuals: np.ndarray
    memberships: np.ndarray
    expansion: np.ndarray
    compression: np.ndarray
    angles: np.ndarray
    label: Label | None = None
    head_prediction: Label | None = None

    @property
    def prediction(self) -> Label:
        """The class of largest membership in the last layer, or that of the head, if any."""
        if self.head_prediction is not None:
            return self.head_prediction
        return self.classes.tolist()[self.memberships[-1].argmax()]

    def nearest_classes(self, count: int) -> list[int]:
        """Indices of the classes with the largest mean membership over all layers, in order.

        The true class takes the last place if it is known and not one of them.
        """
        closeness = self.memberships.mean(0)
        # If memberships round to zero, the residuals decide.
        nearest = np.lexsort((self.residuals.mean(0), -closeness))[:count].tolist()
        true = np.flatnonzero(self.classes == self.label).tolist()
        return nearest if set(true) <= set(nearest) else nearest[:-1] + true

    def table(self, count: int = PRINTED_CLASSES) -> tuple[list[str], list[tuple[float, ...]]]:
        """Headers and rows of a table of each layer and a number of classes.

        Parameters
        ----------
        count : int
            Number of classes: the nearest ones, and the true class if ``label`` is known.

        Returns
        -------
        headers : list of str
            ``layer``, ``angle [deg]`` and ``‖ηEv‖``. For each class its ``residual``, the
            ``membership``, and ``step``, the length of its part of the step.
        rows : list of tuple
        """
        headers = ["layer", "angle [deg]", "‖ηEv‖"]
        columns = [range(1, len(self.angles) + 1), self.angles, self.expansion]
        for j in self.nearest_classes(count):
            headers += [f"{self.classes[j]}: residual", "membership", "step"]
            columns += [self.residuals[:, j], self.memberships[:, j], self.compression[:, j]]
        return headers, list(zip(*columns, strict=True))

    def _texts(self) -> dict[str, str]:
        true = {} if self.label is None else {"true class": str(self.label)}
        return {"prediction": str(self.prediction)} | true

    def __str__(self) -> str:
        """The decision of the first layer, and a row for each layer with the nearest classes."""
        texts = [f"{name}: {text}" for name, text in self._texts().items()]
        return "\n".join([str(self.decision), "", table(*self.table()), *texts])

    def __repr__(self) -> str:
        return f"Explanation(prediction={self.prediction!r}, layers={len(self.angles)})"

    def _repr_html_(self) -> str:
        texts = self._texts() | self.decision._texts()
        return html_pairs(texts) + table(*self.table(), html=True)


@torch.no_grad()
@full_precision
def explain(
    net: ReduNet | FineTuned, x: Array, *, label: Label | np.generic | Tensor | None = None
) -> Explanation:
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
        You can print it, or draw it with :func:`redunet.plots.plot_explanation`.

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
        head_prediction, net = net.predict(as_row(x)).tolist()[0], net.net
    X = net.samples(as_row(x))
    known: Label | None = None if label is None else as_array(label).tolist()
    if known is not None and known not in net.classes_.tolist():
        raise ValueError(f"label must be one of the labels {quoted(net.classes_)}, got {known!r}")
    for layer in net.layers:
        if layer.membership_rule.rectifies:
            raise ValueError(
                "only steps that are weighted by memberships can be explained, not those of "
                f"{layer.membership_rule}"
            )
    (V,) = net.encode(X)
    states = trajectory(V, net.layers)
    rows = []
    for layer, (before, after) in zip(net.layers, pairwise(states), strict=True):
        point = extrapolate(*before, layer.momentum)
        residual_norms = layer.residual_norms(point)
        membership = layer.assign(residual_norms)
        lengths = layer.eta * layer.proportions * membership * residual_norms
        expansion = layer.eta * norms(layer.operators.expand(point))
        angle = 2 * (norms(after[0] - before[0]) / 2).clamp_max(1).asin()  # of small angles too
        relative = residual_norms * layer.comparison_weights()
        rows.append([relative, membership, expansion, lengths, angle])
    rows[-1][1] = net.pool(rows[-1][1], X)
    arrays = [torch.cat(column).cpu().numpy() for column in zip(*rows, strict=True)]
    residuals, memberships, expansions, compression, angles = arrays
    decision = Decision.from_network(net, X[0])
    if known is not None and known not in decision.classes:
        pair = np.array([decision.classes[0], known])
        decision = Decision.from_network(net, X[0], classes=pair)
    return Explanation(
        decision,
        net.classes_,
        residuals=residuals,
        memberships=memberships,
        expansion=expansions,
        compression=compression,
        angles=np.degrees(angles),
        label=known,
        head_prediction=head_prediction,
    )
