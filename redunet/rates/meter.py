"""Rates of samples that arrive in batches, from second moments summed over the batches."""

import numpy as np
import torch
from torch import Tensor

from redunet._checks import Array, as_samples, check_positive, check_sample_shape, label_kind
from redunet._labels import as_labels
from redunet.rates.coding_rates import RateReduction, mean_rate, spectrum_of
from redunet.rates.covariance import RegularisedCovariance, check_factors
from redunet.rates.partition import Partition
from redunet.rates.spectrum import as_double, moderate_scale


class RateReductionMeter:
    """R, R_c and ΔR of all samples of an epoch, which arrive in batches.

    The values equal those of :func:`redunet.rate_reduction` on all samples together. A mean over
    batches would be lower, because batches have lower rates. The meter keeps no samples but the
    second moments of all classes, k F C² numbers in double precision.

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
        self._shape: tuple[int, ...] | None = None
        self._kind: str | None = None  # of labels
        self._sums: dict[int | str, tuple[Tensor, Tensor]] = {}  # of each class: m_j, V Πʲ V*

    @property
    def classes_(self) -> np.ndarray:
        """The labels that have come since the last reset, sorted."""
        return np.array(sorted(self._sums))

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
        self._kind = kind
        with torch.autocast(Z.device.type, enabled=False):
            moments = partition.moments(as_double(self._spectrum(Z / self._scale)))
        names = partition.classes.tolist()
        for label, m_j, M_j in zip(names, partition.counts, moments.unbind(1), strict=True):
            count, moment = self._sums.get(label, (0, 0))
            self._sums[label] = count + m_j, moment + M_j

    @torch.no_grad()
    def compute(self) -> RateReduction:
        """The rates of all samples since the last reset, as scalar tensors in float64.

        Raises
        ------
        RuntimeError
            If there are no samples.
        """
        if not self._sums:
            raise RuntimeError("the meter has seen no samples: call update first")
        counts = torch.stack([count for count, _ in self._sums.values()])
        moments = torch.stack([moment for _, moment in self._sums.values()], 1)  # (F, k, C, C)
        together = self._rates(moments.sum(1, keepdim=True), counts.sum()[None])
        expansion, compression = together[0], counts / counts.sum() @ self._rates(moments, counts)
        return RateReduction(expansion - compression, expansion, compression)

    def _rates(self, moments: Tensor, counts: Tensor) -> Tensor:
        """R of groups of samples, ``(k,)``. That of a class without samples is 0."""
        weights, eps_sq = self._spectrum.weights.double()[:, None], self.eps_sq / self._scale**2
        scales = moments.shape[-1] / (torch.where(counts > 0, counts, 1) * eps_sq) / weights
        covariance = RegularisedCovariance.from_moment(moments, scales)
        check_factors(covariance)
        return mean_rate(covariance.log_det(), self._spectrum)
