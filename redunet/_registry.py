"""Registries of classes by name, and descriptions of their instances for files."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from inspect import Parameter, signature
from typing import Generic, TypeVar

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """Kinds of one part of a network, by name. A kind is a class.

    Parameters
    ----------
    base : type
        Base class of all kinds.
    part : str
        Name of the part in error messages, such as ``"membership"``.
    kinds : mapping of str to type
        The kinds that are registered at first.
    """

    def __init__(self, base: type, part: str, kinds: Mapping[str, type[Part]]):
        self._base = base
        self._part = part
        self._own = frozenset(kinds)
        self._kinds = dict(kinds)

    def register(self, name: str, kind: type[Part]) -> None:
        """Add a kind, so that ``name`` stands for it in arguments and in files.

        Parameters
        ----------
        name : str
        kind : type
            A subclass of the base class. Registering a name of your own again replaces its kind.

        Raises
        ------
        TypeError
            If ``kind`` is not a subclass of the base class, or not a dataclass if that is one.
        ValueError
            If the name belongs to a kind of the package.
        """
        if not (isinstance(kind, type) and issubclass(kind, self._base)):
            raise TypeError(f"{self._part} must derive from {self._base.__name__}, got {kind!r}")
        if is_dataclass(self._base) and "__dataclass_params__" not in vars(kind):
            raise TypeError(f"{kind.__name__} must be a dataclass: add @dataclass(frozen=True)")
        if name in self._own:
            raise ValueError(f"{name!r} is a kind of the package: choose another name")
        self._kinds[name] = kind

    def __getitem__(self, name: str) -> type[Part]:
        """The kind that has this name."""
        if name not in self._kinds:
            raise ValueError(f"{self._part} must be one of {self.names}, got {name!r}")
        return self._kinds[name]

    def instance(self, part: str | Part, **options: float | None) -> Part:
        """The part itself, or an instance of the kind that has this name.

        Options that are None are left out. The others are for a name alone.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if isinstance(part, str):
            kind: Callable[..., Part] = self[part]
            try:
                signature(kind).bind(**given)
            except TypeError as error:
                raise ValueError(f"{self._part}={part!r}: {error}") from None
            return kind(**given)
        if not isinstance(part, self._base):
            raise TypeError(
                f"{self._part} must be a string or an instance of {self._base.__name__}, "
                f"got {part!r}"
            )
        for name in given:
            raise ValueError(
                f"{name} is an option of the {self._part}: pass it to {part!r} instead"
            )
        return part

    @property
    def names(self) -> list[str]:
        """The names of all kinds, sorted."""
        return sorted(self._kinds)

    def __contains__(self, part: str | Part) -> bool:
        """Whether a name, or the kind of an instance, is registered."""
        if isinstance(part, str):
            return part in self._kinds
        return type(part) in self._kinds.values()

    def name_of(self, part: Part) -> str:
        """The name of an instance's kind.

        Raises
        ------
        ValueError
            If the kind is not registered.
        """
        for name, kind in self._kinds.items():
            if type(part) is kind:
                return name
        raise ValueError(
            f"{type(part).__name__} is not registered as a kind of {self._part}, so a file cannot "
            "name it: register it first, as docs/extending.md shows"
        )

    def to_json(self, part: Part) -> dict[str, object]:
        """Kind and arguments of an instance.

        Raises
        ------
        ValueError
            If its kind is not registered.
        TypeError
            If its constructor has an argument that is not an attribute.
        """
        return {"kind": self.name_of(part), **arguments_of(part)}

    def from_json(self, values: Mapping[str, object]) -> Part:
        """The instance that :meth:`to_json` described."""
        arguments = {name: value for name, value in values.items() if name != "kind"}
        kind: Callable[..., Part] = self[str(values["kind"])]
        return kind(**arguments)


def arguments_of(part: object) -> dict[str, object]:
    """The arguments of an instance's constructor, which stores each in an attribute of its name.

    Raises
    ------
    TypeError
        If an argument is not an attribute.
    """
    several = Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD
    parameters = signature(type(part)).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind not in several]
    missing = [name for name in names if name not in dir(part)]
    if missing:
        raise TypeError(
            f"{type(part).__name__} must store its argument {missing[0]!r} as an attribute of the "
            "same name"
        )
    return {name: getattr(part, name) for name in names}
