"""What a construction leaves to a search."""

from redunet.layers import Membership
from redunet.search.search import Search


def as_search(
    lift: str | Search,
    eps_sq: float | None,
    lam: float | None,
    membership: str | Membership,
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
    advice = {
        "eps_sq": (eps_sq is not None, f"lift=Search(eps_sq={eps_sq})"),
        "lam": (lam is not None, "a lift of your own"),
        "membership": (membership != "softmax", "a lift of your own"),
    }
    for name, (is_given, instead) in advice.items():
        if is_given:
            chooser = 'lift="auto"' if is_word else "a Search"
            raise ValueError(f"{chooser} chooses {name} itself: leave it out, or pass {instead}")
    return search
