"""The settings of a construction."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, Self, TypeVar

from redunet._checks import check_count, check_flag, check_number, check_positive, set_fields
from redunet.construction.defaults import default_depth, default_eps_sq, default_eta
from redunet.layers import MEMBERSHIPS, OPERATOR_KINDS, Exact, Membership, OperatorKind

Kind = TypeVar("Kind", Membership, OperatorKind)


@dataclass(frozen=True)
class Settings:
    """The settings of a construction; see :meth:`redunet.ReduNet.construct`.

    Attributes
    ----------
    num_layers : int
        Number of layers, or the largest number if ``tol`` is given.
    eta : float
        Step size η. If ``adaptive_eta``, the step that the first layer tries first.
    eps_sq : float
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

    num_layers: int
    eta: float
    eps_sq: float
    membership: Membership
    operators: OperatorKind
    momentum: float = 0.0
    tol: float | None = None
    true_membership: bool = False
    adaptive_eta: bool = False

    def __post_init__(self) -> None:
        check_count(num_layers=self.num_layers)
        check_positive(eta=self.eta, eps_sq=self.eps_sq)
        if self.tol is not None and not 0 <= self.tol < 1:
            raise ValueError(f"tol must be None or in [0, 1), got {self.tol}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")

    def to_json(self) -> dict[str, Any]:
        """The settings as values that JSON can represent."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "membership": MEMBERSHIPS.to_json(self.membership),
            "operators": OPERATOR_KINDS.to_json(self.operators),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Settings that :meth:`to_json` described."""
        return cls(
            **{
                **values,
                "membership": MEMBERSHIPS.from_json(values["membership"]),
                "operators": OPERATOR_KINDS.from_json(values["operators"]),
            }
        )


@dataclass(frozen=True)
class Request:
    """The settings that a user asks for. None stands for a default that depends on the data.

    Numbers become Python numbers here.

    Attributes
    ----------
    num_layers, eta, eps_sq, momentum, tol, true_membership
        As in :class:`Settings`.
    membership : Membership
    operators : OperatorKind
    """

    num_layers: int | None
    eta: float | None
    eps_sq: float | None
    membership: Membership
    operators: OperatorKind
    momentum: float
    tol: float | None
    true_membership: bool

    def __post_init__(self) -> None:
        eta, eps_sq = check_positive(eta=self.eta, eps_sq=self.eps_sq)
        momentum, tol = check_number(momentum=self.momentum, tol=self.tol)
        if momentum is None or not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        num_layers = check_count(num_layers=self.num_layers)
        true_membership = check_flag(true_membership=self.true_membership)
        set_fields(self, num_layers=num_layers, eta=eta, eps_sq=eps_sq, momentum=momentum, tol=tol)
        set_fields(self, true_membership=true_membership)
        self.settle(1, 1.0)  # raise errors before any sample is read

    def completed(self, found: Mapping[str, Any]) -> Self:
        """The request with what a search found.

        Operators that are not exact stay. One layer is enough to classify, unless more are wanted.
        """
        if not isinstance(self.operators, Exact):
            found = {**found, "operators": self.operators}
        depth = 1 if self.num_layers is None and self.tol is None else self.num_layers
        return replace(self, num_layers=depth, **found)

    def eps_sq_for(self, frequencies: int) -> float:
        """ε² for data with this number of frequencies in the full spectrum."""
        return default_eps_sq(frequencies) if self.eps_sq is None else self.eps_sq

    def settle(self, frequencies: int, alpha: float) -> Settings:
        """The settings for data with this number of frequencies and this α = C/(mε²)."""
        num_layers, tol = default_depth(self.num_layers, self.tol)
        return Settings(
            num_layers=num_layers,
            eta=default_eta(alpha, self.momentum) if self.eta is None else self.eta,
            eps_sq=self.eps_sq_for(frequencies),
            membership=self.membership,
            operators=self.operators,
            momentum=self.momentum,
            tol=tol,
            true_membership=self.true_membership,
            adaptive_eta=self.eta is None and self.momentum == 0,
        )


def as_membership(membership: str | Membership, lam: float | None) -> Membership:
    """The membership rule for a name and λ, or for an instance."""
    if isinstance(membership, str):
        options = {} if lam is None else {"lam": lam}
        return _with_options(MEMBERSHIPS[membership], f"membership={membership!r}", options)
    if not isinstance(membership, Membership):
        raise TypeError(f"membership must be a string or a Membership, got {membership!r}")
    if lam is not None:
        raise ValueError(f"lam is an option of the membership: pass it to {membership!r} instead")
    return membership


def as_operator_kind(operators: str | OperatorKind, rank: int | None) -> OperatorKind:
    """The kind of operators for a name and a rank, or for an instance."""
    if isinstance(operators, str):
        options = {} if rank is None else {"rank": rank}
        return _with_options(OPERATOR_KINDS[operators], f"operators={operators!r}", options)
    if not isinstance(operators, OperatorKind):
        raise TypeError(f"operators must be a string or an OperatorKind, got {operators!r}")
    if rank is not None:
        raise ValueError(f"rank is an option of the operators: pass it to {operators!r} instead")
    return operators


def _with_options(kind: type[Kind], setting: str, options: Mapping[str, float]) -> Kind:
    """An instance of a kind with these options. Error messages refer to it by ``setting``."""
    names = {field.name for field in fields(kind)}
    for name in options.keys() - names:
        raise ValueError(f"{setting} has no option {name}")
    for field in fields(kind):
        is_required = field.default is MISSING and field.default_factory is MISSING
        if is_required and field.name not in options:
            raise ValueError(f"{setting} needs the option {field.name}")
    return kind(**options)
