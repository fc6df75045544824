"""The rates of the features, layer by layer."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from redunet._tables import table
from redunet.files.tensors import Header
from redunet.rates import RateReduction

Rates = NDArray[np.float64]


@dataclass
class RateHistory:
    """Rates of the features before the first layer and after each one, in nats.

    Attributes
    ----------
    expansion, compression, delta : numpy arrays of length num_layers + 1
        R, R_c and ΔR = R − R_c. Entry 0 is the value before the first layer. The last entry of a
        network that was extended is NaN.
    validation : RateHistory or None
        The rates of the validation samples, if there were any.
    """

    expansion: Rates = field(default_factory=lambda: np.empty(0))
    compression: Rates = field(default_factory=lambda: np.empty(0))
    validation: "RateHistory | None" = None

    @property
    def delta(self) -> Rates:
        """ΔR = R − R_c."""
        return self.expansion - self.compression

    def __repr__(self) -> str:
        layers = max(0, len(self.delta) - 1)
        change = f", ΔR {self.delta[0]:.3g} → {self.delta[-1]:.3g}" if len(self.delta) else ""
        return f"{type(self).__name__}({layers} layer{'s' * (layers != 1)}{change})"

    def _repr_html_(self) -> str:
        layers = range(len(self.delta))
        rows = zip(layers, self.delta, self.expansion, self.compression, strict=True)
        return table(["layer", "ΔR", "R", "R_c"], rows, html=True)

    def append(self, rates: RateReduction) -> None:
        """Add the rates after one more layer."""
        self.expansion = np.append(self.expansion, float(rates.expansion))
        self.compression = np.append(self.compression, float(rates.compression))

    def has_stalled(self, tol: float | None) -> bool:
        """Whether the last layer raised ΔR by less than the fraction ``tol``."""
        if tol is None or len(self.delta) < 2:
            return False
        before, after = self.delta[-2:]
        return bool(after - before < tol * abs(before))

    @classmethod
    def from_json(cls, values: Header) -> Self:
        """The history whose ``dataclasses.asdict`` went through JSON."""
        return cls(
            np.array(values["expansion"], dtype=float),
            np.array(values["compression"], dtype=float),
            None if values["validation"] is None else cls.from_json(values["validation"]),
        )
