"""Extension of a network by new classes and new samples, without the samples it was made from.

The operators of a layer are functions of the second moments and the sizes of the classes. A layer
with :class:`redunet.layers.Extensible` operators keeps both. The second moments of new samples are
added to them, and the operators are computed again, with the same ε². So is a second reader, which
keeps the second moments of all classes together.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, check_sample_shape, label_kind, memory_advice
from redunet._labels import as_labels
from redunet.construction.build import Parts
from redunet.construction.construction import Construction
from redunet.construction.encoder import Encoder
from redunet.construction.sources import ArraySource, warn_of_similar
from redunet.construction.steps import Step
from redunet.layers import Extensible, OperatorKind, Reader
from redunet.layers.operators.operator import ClassSums
from redunet.rates import RateReduction


def extended(parts: Parts, X: Array, labels: Array) -> Parts:
    """The parts of a network after new samples were added to it.

    The arguments and the exactness are those of :meth:`redunet.ReduNet.extend`. ``parts`` does not
    change.
    """
    kept = kept_sums(parts)
    like, settings = parts.layers[0].proportions, parts.settings
    source = ArraySource(parts.names.in_order(X), labels, like.device)
    check_sample_shape(source.X, parts.sample_shape)
    classes = merged_classes(parts.classes, labels)
    encoder = Encoder(source.example.to(like.dtype), parts.lift, batch_size=parts.batch_size)
    places = torch.from_numpy(np.searchsorted(classes, parts.classes)).to(like.device)
    with memory_advice(encoder.batch_size):
        samples = encoder.collect(source, settings.eps_sq, classes=classes)
        # The step ηα stays the same, and α is inversely proportional to the number of samples.
        factor = 1 + (samples.info.counts.sum() / kept[0].counts.sum()).item()
        steps = [Step(layer.eta * factor, 0.0) for layer in parts.layers]
        etas = settings.eta if isinstance(settings.eta, Sequence) else [settings.eta or 0.0]
        eta = tuple(each * factor for each in etas)
        settings = replace(settings, eta=eta if isinstance(settings.eta, Sequence) else eta[0])
        construction = Construction(settings, samples, steps=steps)
        for sums in kept:
            add_layer(construction, sums, places)
        reader = parts.reader
        if reader is not None:
            reader = reader.extended(source.X.to(like.dtype), samples.partition.membership, classes)
    # After the last layer, the features of old samples are not known.
    construction.history.append(RateReduction(*torch.full((3,), math.nan)))
    return parts._replace(
        layers=construction.layers,
        classes=classes,
        settings=settings,
        history=construction.history,
        lift=encoder.lift,
        label_distributions=None,
        reader=reader,
    )


def add_layer(construction: Construction, kept: ClassSums, places: Tensor) -> None:
    """Construct one layer, after the new samples have moved through the layer before.

    Parameters
    ----------
    construction : Construction
        That of the new samples.
    kept : ClassSums
        The sums of the same layer before the extension.
    places : Tensor
        Positions of their classes among all classes.
    """
    samples, layers = construction.samples, construction.layers
    if layers:
        samples.advance(samples.apply(layers[-1]))
    # Each layer keeps its own counts: memberships of samples without labels may change between
    # layers. ``sizes`` are those of the new samples; moments that are matrices need no sizes.
    counts = samples.partition.counts.index_add(0, places, kept.counts.double())
    samples.info = replace(samples.info, counts=counts)
    moments = Extensible().moments(samples.info, None)
    sums = moments.classes.sums
    sums.index_add_(1, places, kept.moments.to(sums.dtype))
    for V, partition in zip(samples.current, samples.partitions, strict=True):
        moments.add(V, partition)
    moments.finish()
    construction.record(moments.rates())
    layers.append(construction.make_layer(moments))


def kept_sums(parts: Parts) -> list[ClassSums]:
    """What the operators of all layers were made from.

    Raises
    ------
    ValueError
        If they keep no second moments, a layer has momentum, or the reader is not extensible.
    """
    check_reader(parts.reader, parts.settings.operators)
    kept = [layer.operators.sums for layer in parts.layers if layer.operators.sums is not None]
    if len(kept) < len(parts.layers):
        raise ValueError(
            "the network keeps no second moments, so nothing can be added to it: construct with "
            f'operators="extensible", got {parts.settings.operators}'
        )
    if any(layer.momentum for layer in parts.layers):
        raise ValueError(
            "a network with momentum cannot be extended, because its layers keep the second "
            f"moments of other points than the features: construct with momentum=0, got "
            f"{parts.settings.momentum:g}"
        )
    return kept


def check_reader(reader: Reader | None, operators: OperatorKind) -> None:
    """Raise ValueError if a network has extensible operators beside another reader."""
    if isinstance(operators, Extensible) and not (reader is None or reader.extensible):
        raise ValueError(
            f"a network with this {type(reader).__name__} cannot be extended, because it keeps no "
            'second moments: construct with operators="extensible" and lift=search, which makes a '
            "reader that keeps them, or pass ExpansionRegression(…, extensible=True) or no reader"
        )


def merged_classes(classes: np.ndarray, labels: Array) -> np.ndarray:
    """The sorted classes of a network and of new labels together.

    Soft memberships ``(m, k)`` bring no new classes.

    Raises
    ------
    ValueError
        If the labels are of another kind than the classes, such as strings instead of integers, or
        if some are masked.
    """
    labels = as_labels(labels, memberships=True)
    if labels.ndim == 2:
        return classes
    expected, got = label_kind(classes), label_kind(labels)
    if expected != got:
        raise ValueError(f"the labels of the network are {expected}, got labels that are {got}")
    union = np.union1d(classes, as_labels(labels, classes=classes))
    if len(union) > len(classes):
        warn_of_similar(union)
    return union
