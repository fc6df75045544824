"""What a construction leaves to a search."""

from redunet.layers import Exact, Membership, OperatorKind
from redunet.search.search import Search


def as_search(
    lift: str | Search,
    eps_sq: float | None,
    lam: float | None,
    membership: str | Membership,
    operators: str | OperatorKind,
    rank: int | None,
) -> Search:
    """The search that a construction asks for. "auto" stands for ``Search()``.

    The arguments are those of :meth:`redunet.ReduNet.construct`.

    Raises
    ------
    ValueError
        If another word than "auto" is given, or a setting that the search chooses itself.
    """
    is_word = isinstance(lift, str)
    if is_word and lift != "auto":
        raise ValueError(f'lift must be "auto", a torch module or a list of them, got {lift!r}')
    search = Search() if isinstance(lift, str) else lift
    is_exact = isinstance(operators, Exact) or operators == "exact"
    advice = {
        "eps_sq": (eps_sq is not None, f"lift=Search(eps_sq={eps_sq})"),
        "lam": (lam is not None, "a lift of your own"),
        "membership": (membership != "softmax", "a lift of your own"),
        "operators": (is_word and operators != "exact", "lift=Search(most_blocks=1) with them"),
        "rank": (is_word and rank is not None, "lift=Search(most_blocks=1) with it"),
    }
    for name, (is_given, instead) in advice.items():
        if is_given:
            chooser = 'lift="auto"' if is_word else "a Search"
            raise ValueError(f"{chooser} chooses {name} itself: leave it out, or pass {instead}")
    if not is_exact and search.most_blocks > 1:
        raise ValueError(
            f"joined lifts have exact operators: pass lift=Search(most_blocks=1) with {operators!r}"
        )
    return search
