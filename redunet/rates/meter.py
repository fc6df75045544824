"""Rates of samples that arrive in batches, from second moments summed over the batches."""

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, as_samples, check_positive, check_sample_shape, label_kind
from redunet._labels import as_labels
from redunet.rates.coding_rates import (
    RateReduction,
    mean_rate,
    spectral_rate_reduction,
    spectrum_of,
)
from redunet.rates.covariance import RegularisedCovariance, check_factors, second_moment
from redunet.rates.partition import Partition
from redunet.rates.spectrum import moderate_scale


class RateReductionMeter:
    """R, R_c and ΔR of all samples of an epoch, which arrive in batches.

    The values equal those of :func:`redunet.rate_reduction` on all samples together. A mean over
    batches would be lower, because batches have lower rates. The meter stores samples as long as
    they take no more numbers than the second moments of all classes, k F C². It then adds them to
    the second moments and discards them.

    Parameters
    ----------
    eps_sq : float
        ε², the squared precision of the code.

    Examples
    --------
    >>> import torch
    >>> meter = RateReductionMeter(eps_sq=0.5)
    >>> for _ in range(3):
    ...     meter.update(torch.randn(20, 8), torch.arange(20) % 4)
    >>> delta, expansion, compression = meter.compute()
    """

    def __init__(self, eps_sq: float = 0.5):
        self.eps_sq = check_positive(eps_sq=eps_sq)
        self.reset()

    def reset(self) -> None:
        """Discard all samples, for example at the start of an epoch."""
        self.classes_: np.ndarray | None = None
        self._shape: tuple[int, ...] | None = None
        self._kind: str | None = None  # of labels
        self._kept: list[tuple[Tensor, np.ndarray]] = []  # samples (F, m, C) and their labels
        self._summed: np.ndarray | None = None  # the classes of the moments
        self._counts: Tensor  # (k,)
        self._moments: Tensor  # (F, k, C, C)

    @torch.no_grad()
    def update(self, Z: Array, labels: Array) -> None:
        """Add a batch.

        Parameters
        ----------
        Z : array-like or Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
            Features.
        labels : array-like or Tensor of shape (m,) or (m, k)
            Integers or strings, or soft memberships. Any batch may bring new classes.

        Raises
        ------
        ValueError
            If features are not finite, have another shape than before, or do not match the labels,
            or if labels are of another kind than before.
        """
        Z = as_samples(Z, name="Z")
        partition = Partition.from_labels(labels, len(Z), device=Z.device, partial=True)
        given = as_labels(labels, memberships=True)
        kind = label_kind(given) if given.ndim == 1 else f"memberships in {given.shape[1]} classes"
        if self._kind not in (None, kind):
            raise ValueError(
                f"all batches need labels of one kind: those before are {self._kind}, got {kind}"
            )
        if self._shape is None:
            self._shape = tuple(Z.shape[1:])
            self._spectrum, self._scale = spectrum_of(Z), moderate_scale(Z)
        check_sample_shape(Z, self._shape)
        before = () if self.classes_ is None else (self.classes_,)
        classes = np.unique(np.concatenate([*before, partition.classes]))
        self.classes_, self._kind = classes, kind
        with torch.autocast(Z.device.type, enabled=False):
            # A copy, because the caller may fill its array again, without a graph of gradients.
            V = self._spectrum(Z.detach() / self._scale)
            self._kept.append((V, given.copy()))
            if sum(V.shape[1] for V, _ in self._kept) > len(classes) * Z.shape[1]:
                self._sum_up(classes)

    @torch.no_grad()
    def compute(self) -> RateReduction:
        """The rates of all samples since the last reset, as scalar tensors in float64.

        Raises
        ------
        RuntimeError
            If there are no samples.
        """
        if self.classes_ is None:
            raise RuntimeError("the meter has seen no samples: call update first")
        eps_sq = self.eps_sq / self._scale**2
        if self._summed is None:
            V, partition = self._join()
            exact = V.to(torch.promote_types(V.dtype, torch.float64))
            return spectral_rate_reduction(exact, self._spectrum, partition, eps_sq)
        self._sum_up(self.classes_)
        m, channels = self._counts.sum(), self._moments.shape[-1]
        weights = self._spectrum.weights[:, None].to(self._counts.dtype)  # (F, 1)
        total, present = self._moments.sum(1), self._counts > 0
        counts, moments = self._counts[present], self._moments[:, present]
        expansion = self._rate(total, channels / (m * eps_sq) / weights[:, 0])
        rates = self._rate(moments, channels / (counts * eps_sq) / weights)
        compression = counts / m @ rates
        return RateReduction(expansion - compression, expansion, compression)

    def _rate(self, moments: Tensor, scale: Tensor) -> Tensor:
        covariance = RegularisedCovariance.from_moment(moments, scale)
        check_factors(covariance)
        return mean_rate(covariance.log_det(), self._spectrum)

    def _join(self) -> tuple[Tensor, Partition]:
        """All stored samples and their classes."""
        V = torch.cat([V for V, _ in self._kept], 1)
        labels = np.concatenate([labels for _, labels in self._kept])
        return V, Partition.from_labels(labels, V.shape[1], device=V.device, partial=True)

    def _sum_up(self, classes: np.ndarray) -> None:
        """Add the stored samples to the second moments of these classes, and discard them."""
        if not self._kept:
            return
        V, partition = self._join()
        self._kept = []
        self._make_room(classes, V)
        where = np.searchsorted(classes, partition.classes)
        places = torch.as_tensor(where, device=V.device)
        self._counts.index_add_(0, places, partition.counts)
        for batch in partition.class_batches:
            moments = second_moment(batch.gather(V)).to(self._moments.dtype)
            self._moments.index_add_(1, places[batch.classes], moments)

    def _make_room(self, classes: np.ndarray, V: Tensor) -> None:
        """Add empty second moments for classes that have none yet."""
        if self._summed is not None and len(self._summed) == len(classes):
            return
        frequencies, _, channels = V.shape
        counts = torch.zeros(len(classes), dtype=torch.float64, device=V.device)
        dtype = torch.promote_types(V.dtype, torch.float64)
        moments = counts.new_zeros(frequencies, len(counts), channels, channels, dtype=dtype)
        if self._summed is not None:
            where = np.searchsorted(classes, self._summed)
            places = torch.as_tensor(where, device=V.device)
            counts[places], moments[:, places] = self._counts, self._moments
        self._summed, self._counts, self._moments = classes, counts, moments
