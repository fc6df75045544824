"""The settings of a construction, and their default values, which depend on the data.

The reasons and measurements for these values are in docs/choosing.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from redunet._checks import check_count, check_flag, check_number, check_positive, set_fields
from redunet._tables import html_pairs
from redunet.construction.steps import Step, longest_constant_step
from redunet.files.tensors import Header
from redunet.layers import MEMBERSHIPS, OPERATOR_KINDS, DatasetInfo, Membership, OperatorKind

# ε² for vectors. A shift-invariant operator equals the dense circulant operator with ε² times the
# number of frequencies, so ε² for signals is divided by that number.
EPS_SQ_OF_VECTORS = 0.5

# If no number of layers is given, the construction stops when a layer raises ΔR by less than 1 %,
# and after 50 layers at the latest.
TOLERANCE = 0.01
MOST_LAYERS = 50


@dataclass(frozen=True)
class Settings:
    """The settings of a construction; see :meth:`redunet.ReduNet.construct`.

    None stands for a default that depends on the data. The settings of a network have no None, but
    for ``tol``.

    Attributes
    ----------
    num_layers : int or None
        Number of layers, or the largest number if ``tol`` is given.
    eta : float, tuple of float or None
        Step size η of all layers, or of each layer. If ``adaptive_eta``, the step that the first
        layer tries first.
    eps_sq : float or None
        ε², the squared precision of the code.
    membership : Membership
        Rule by which layers estimate memberships.
    operators : OperatorKind
        Kind of the operators.
    momentum : float
        Momentum β.
    tol : float or None
        The construction stops when a layer raises ΔR by less than this fraction.
    true_membership : bool
        Whether training samples were moved by their true memberships.
    adaptive_eta : bool
        Whether every layer chooses its own step; see :mod:`redunet.construction.steps`.
    """

    num_layers: int | None
    eta: float | Sequence[float] | None
    eps_sq: float | None
    membership: Membership
    operators: OperatorKind
    momentum: float = 0.0
    tol: float | None = None
    true_membership: bool = False
    adaptive_eta: bool = False

    def __post_init__(self) -> None:
        momentum, tol = check_number(momentum=self.momentum, tol=self.tol)
        if momentum is None or not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        if tol is not None and not 0 <= tol < 1:
            raise ValueError(f"tol must be None or in [0, 1), got {tol}")
        set_fields(
            self,
            num_layers=check_count(num_layers=self.num_layers),
            eta=check_steps(self.eta, self.num_layers),
            eps_sq=check_positive(eps_sq=self.eps_sq),
            momentum=momentum,
            tol=tol,
            true_membership=check_flag(true_membership=self.true_membership),
        )

    def _repr_html_(self) -> str:
        return html_pairs(vars(self))

    def with_choice(self, eps_sq: float, membership: Membership) -> Self:
        """The settings with those that a search chose.

        One layer is enough to classify, unless more are wanted.
        """
        num_layers = 1 if self.num_layers is None and self.tol is None else self.num_layers
        return replace(self, eps_sq=eps_sq, membership=membership, num_layers=num_layers)

    def completed(self, info: DatasetInfo) -> Self:
        """The settings with the defaults for these samples."""
        num_layers, tol = self.num_layers, self.tol
        if num_layers is None and isinstance(self.eta, Sequence):
            num_layers = len(self.eta)
        elif num_layers is None:
            num_layers, tol = MOST_LAYERS, TOLERANCE if tol is None else tol
        return replace(
            self,
            num_layers=num_layers,
            tol=tol,
            eta=longest_constant_step(self.momentum) / info.alpha if self.eta is None else self.eta,
            eps_sq=info.eps_sq,
            adaptive_eta=self.eta is None and self.momentum == 0,
        )

    def steps(self) -> list[Step]:
        """The steps of the layers, from which those that choose their steps depart."""
        count, eta = self.num_layers or 0, self.eta
        etas = eta if isinstance(eta, Sequence) else [eta or 0.0] * count
        return [Step(each, self.momentum) for each in etas]

    def to_json(self) -> dict[str, object]:
        """The settings as values that JSON can represent."""
        return {
            **vars(self),
            "membership": MEMBERSHIPS.to_json(self.membership),
            "operators": OPERATOR_KINDS.to_json(self.operators),
        }

    @classmethod
    def from_json(cls, values: Header) -> Self:
        """Settings that :meth:`to_json` described."""
        parts = {
            "membership": MEMBERSHIPS.from_json(values["membership"]),
            "operators": OPERATOR_KINDS.from_json(values["operators"]),
        }
        return cls(**{**values, **parts})  # which refuses names that it does not know


def check_steps(
    eta: float | Sequence[float] | None, num_layers: int | None
) -> float | tuple[float, ...] | None:
    """η as a positive Python number, or as one for each layer."""
    if not isinstance(eta, Sequence):
        return check_positive(eta=eta)
    etas = tuple(check_positive(eta=each) for each in eta)
    if not etas or None in etas or len(etas) != (num_layers or len(etas)):
        raise ValueError(
            f"eta must be a number, or one for each of the {num_layers} layers, got {eta}"
        )
    return etas
