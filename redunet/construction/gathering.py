"""Second moments of labelled features, from one pass over all batches."""

from collections.abc import Iterable

from torch import Tensor

from redunet.construction.labelled_features import LabelledFeatures
from redunet.layers import DatasetInfo, OperatorKind, ReduLayer, SecondMoments


def gather(
    kind: OperatorKind,
    info: DatasetInfo,
    samples: LabelledFeatures,
    points: Iterable[Tensor],
    layers: list[ReduLayer] | None = None,
) -> SecondMoments:
    """The second moments that a kind of operators needs, of points with the samples' classes."""

    def collect(moments: SecondMoments) -> None:
        for V, partition in zip(points, samples.partitions, strict=True):
            moments.add(V, partition)
        moments.finish()

    previous = layers[-1].operators if layers else None
    moments = kind.gather(info, collect, previous, len(layers or ()))
    if not isinstance(moments, SecondMoments):
        raise TypeError(f"{kind}.gather must return SecondMoments, got {moments!r}")
    return moments
