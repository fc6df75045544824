"""Keywords under the names of other code, and what to write instead."""

import inspect
import reprlib
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Names of the authors' code and of others: what to write for a value, and why.
ELSEWHERE = {
    "eps": ("eps_sq={}", "the authors' eps is ε², the same number"),
    "epsilon": ("eps_sq={}**2", "ε²"),
    "lmbda": ("lam={}", ""),
    "gam1": ("gamma2={}", "the authors' gam1 stands before α, as γ₂ does"),
    "gam2": ("gamma1=1/{}", "the authors' gam2 stands before R, as 1/γ₁ does"),
    "n_comp": ("n_components={}", ""),
    "layers": ("num_layers={}", ""),
    "lr": ("eta={}", ""),
    "y": ("labels=y", ""),
}


def suggests(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose error about a keyword that it does not know says what was meant."""
    known = inspect.signature(function).parameters
    name = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        unknown = [keyword for keyword in kwargs if keyword not in known]
        if unknown:
            meant = [_meant(keyword, kwargs[keyword], list(known)) for keyword in unknown]
            advice = f": did you mean {', '.join(meant)}?" if all(meant) else ""
            raise TypeError(f"{name}() has no keyword {', '.join(map(repr, unknown))}{advice}")
        return function(*args, **kwargs)

    return checked


def _meant(keyword: str, value: object, known: list[str]) -> str:
    """What to write instead of a keyword with its value; "" if nothing is like it."""
    text, reason = ELSEWHERE.get(keyword, ("", ""))
    if text.partition("=")[0] not in known:
        text = "".join(f"{name}={{}}" for name in get_close_matches(keyword, known, 1))
        reason = ""
    return text.format(reprlib.repr(value)) + f" ({reason})" * bool(reason)
