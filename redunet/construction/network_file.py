"""The file of a network: a header that describes it, and its tensors or its samples."""

from os import PathLike

from torch import Tensor, nn

from redunet._checks import Array
from redunet.construction.build import Parts
from redunet.construction.header import header_of, parts_of
from redunet.construction.replay import samples_for, with_layers
from redunet.files.tensors import (
    check_ending,
    check_values,
    parse_header,
    read_tensors,
    write_tensors,
)

# The key of the header of saved networks.
KEY = "redunet"


def write_network(
    parts: Parts,
    tensors: dict[str, Tensor],
    path: str | PathLike[str],
    samples: tuple[Array, Array] | None,
) -> None:
    """Write a network to a file, completely or not at all.

    Parameters
    ----------
    parts : Parts
    tensors : dict
        All tensors of the network.
    path : str or path
    samples : tuple of (X, labels), or None
        The samples of the construction, to be written instead of the tensors of the layers.

    Raises
    ------
    ValueError
        If the ending of the file is that of an exported graph or of a pickle.
    """
    check_ending(path)
    header = header_of(parts)
    if samples is not None:
        others = {name: t for name, t in tensors.items() if not name.startswith("layers.")}
        tensors = others | samples_for(parts, *samples)
    write_tensors(tensors, path, KEY, header)


def read_network(
    path: str | PathLike[str], lift: nn.Module | None
) -> tuple[Parts, dict[str, Tensor]]:
    """The parts of a network in a file, with layers on the meta device, and all of its tensors.

    Parameters
    ----------
    path : str or path
    lift : nn.Module or None
        The network's lift, if its class is not registered.

    Raises
    ------
    ValueError
        If the file does not hold a network, or its values are not finite.
    """
    metadata, tensors = read_tensors(path)
    header = parse_header(metadata, KEY, path, "a network that ReduNet.save wrote")
    check_values(tensors, path)
    parts = parts_of(header, lift, path)
    return parts, with_layers(parts, tensors, path)
