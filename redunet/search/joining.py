"""The network that some candidates of a search form together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from redunet.layers import BlockDiagonal, Exact, OperatorKind
from redunet.lifts import JoinedLift
from redunet.search.candidate import Candidate


def joined(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """The lift, the operators and ε² of a network with a block for each candidate.

    They are keyword arguments of :meth:`redunet.ReduNet.construct`. Squared residuals of the
    network are the means of those of the candidates.
    """
    blocks = len(candidates)
    lifts = list(dict.fromkeys(candidate.lift for candidate in candidates))
    by_lift = [[c for c in candidates if c.lift is lift] for lift in lifts]
    chosen = [candidate for of_lift in by_lift for candidate in of_lift]
    precisions = [candidate.eps_sq for candidate in chosen]
    lift: nn.Module | None
    operators: OperatorKind
    if blocks == 1:
        lift, operators = chosen[0].whole, Exact()
    else:
        lift = JoinedLift(
            [lift or nn.Identity() for lift in lifts],
            [[candidate.band for candidate in of_lift] for of_lift in by_lift],
        )
        operators = BlockDiagonal(
            [candidate.channels for candidate in chosen],
            [value / blocks for value in precisions],
            [candidate.band for candidate in chosen],
        )
    eps_sq = float(np.exp(np.mean(np.log(precisions))))
    return {"lift": lift, "operators": operators, "eps_sq": eps_sq}
