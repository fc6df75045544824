"""The state of a construction in a folder, so that an interrupted construction can be resumed.

Every finished layer has a folder of its own. It holds the layer, the history up to the layer, and
the features after the layer; these features are deleted as soon as those of the next layer are
saved. A folder is written under another name and renamed when it is complete. Whatever the moment
of an interruption, the construction can therefore resume from the last complete folder.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from textwrap import shorten
from typing import TypeAlias

import torch
from torch import Tensor, nn

from redunet._version import __version__
from redunet.construction.construction import Construction
from redunet.construction.features import FeatureStore, LabelledFeatures, read_array, write_array
from redunet.construction.history import RateHistory
from redunet.files.atomic import atomic_folder
from redunet.files.digest import Digest
from redunet.files.tensors import as_text, read_tensors, write_tensors
from redunet.layers import ReduLayer
from redunet.lifts import lift_to_json
from redunet.rates import HalfSpectrum

# The file of a layer, and the key of its header.
LAYER, KEY = "layer.safetensors", "redunet checkpoint"

# What a checkpoint belongs to; see :func:`identity_of`.
Identity: TypeAlias = dict[str, object]

# Longer settings, such as the sizes of many batches, are cut in messages.
LONGEST = 500

ORDER = (
    "The samples must also come in the same order: a DataLoader needs shuffle=False, or a "
    "generator with a seed. "
)


class FolderCheckpoint:
    """Finished layers of a construction, in a folder.

    Parameters
    ----------
    folder : str or path
        Folder of the checkpoint. It is created if it does not exist. If several processes share the
        construction, each has its own subfolder.
    construction : Construction
    lift : nn.Module or None
        The lift that made the features.
    """

    def __init__(
        self, folder: str | os.PathLike[str], construction: Construction, lift: nn.Module | None
    ):
        self._construction = construction
        self._processes = processes = construction.samples.info.processes
        self._identity = identity_of(construction, lift)
        own = f"process-{processes.rank}-of-{processes.size}" if processes.size > 1 else "."
        self._folder = Path(folder) / own
        self._folder.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Save the last layer, and the features after it."""
        layers = self._construction.layers
        final = self._folder_of(len(layers))
        header = {
            "identity": self._identity,
            "layer": layers[-1].describe(),
            "history": self._construction.history.to_json(),
        }
        with atomic_folder(final) as folder:
            write_tensors(layers[-1].state_dict(), folder / LAYER, KEY, header)
            for name, batches in self._features().items():
                for number, V in enumerate(batches):
                    write_array(folder / f"{name}-{number:06d}.npy", V)
        # Wait until every process has saved this layer. Until then, processes may have to resume
        # from the layer before, and need its features.
        self._processes.all_gather_object(len(layers))
        for file in self._folder.glob("layer-*/*.npy"):
            if file.parent != final:
                file.unlink()

    def restore(self) -> None:
        """Continue after the last layer that every process has saved, if there is one.

        Raises
        ------
        ValueError
            If the folder belongs to another construction.
        """
        construction = self._construction
        last = min(self._processes.all_gather_object(self._last_layer()))
        number = min(last, construction.settings.num_layers or last)
        if number == 0:
            return
        stored = [
            read_tensors(self._folder_of(i) / LAYER, KEY, "a layer of a checkpoint")
            for i in range(1, number + 1)
        ]
        header, _ = stored[-1]
        self._check_identity(header["identity"])
        history = RateHistory.from_json(header["history"])
        check_rates(history, construction.history)
        spectrum = construction.samples.info.spectrum
        if construction.offload:  # layers in host memory share a spectrum there
            spectrum = HalfSpectrum(spectrum.shape)
        construction.layers = [
            ReduLayer.restored(header["layer"], tensors, spectrum).to(spectrum.weights.device)
            for header, tensors in stored
        ]
        construction.history = history
        self._restore_features(number)

    def _check_identity(self, stored: Identity) -> None:
        """Raise ValueError on all processes unless the checkpoint belongs to this construction."""
        own, differences = self._identity, []
        for name in stored | own:
            if stored.get(name) != own.get(name):
                before, now = (shorten(str(each.get(name)), LONGEST) for each in (stored, own))
                are_digests = "sha256:" in before + now
                differences.append(
                    f"{name} {'differ' if are_digests else f'is {before}, expected {now}'}"
                )
        found = next(filter(None, self._processes.all_gather_object(differences)), None)
        if found:
            order = ORDER if any("samples differ" in each for each in found) else ""
            raise ValueError(
                f"{self._folder} belongs to another construction: {'; '.join(found)}. {order}To "
                "begin again, choose another checkpoint or delete this one"
            )

    def _features(self) -> dict[str, Iterable[Tensor]]:
        """Everything that is needed to continue, in batches."""
        features: dict[str, Iterable[Tensor]] = {}
        for name, samples in self._sets().items():
            features[f"{name}-current"] = samples.current
            features[f"{name}-previous"] = samples.previous or ()
        samples = self._construction.samples
        if samples.known is not None:
            features["training-membership"] = (each.membership for each in samples.partitions)
        return features

    def _restore_features(self, number: int) -> None:
        """Read what is needed to continue. Earlier layers than the last have no features."""
        construction = self._construction
        if construction.samples.known is not None:
            membership = list(self._read_features(number, "training-membership"))
            if not membership:
                raise ValueError(
                    f"the checkpoint holds more than {number} layer(s), and memberships of samples "
                    "without labels only after the last one: ask for more layers"
                )
            construction.samples.assign(torch.cat(membership))
        if construction.is_finished():
            return
        for name, samples in self._sets().items():
            samples.current = self._read_features(number, f"{name}-current")
            samples.previous = self._read_features(number, f"{name}-previous") or None
        construction.moments = construction.gather()

    def _sets(self) -> dict[str, LabelledFeatures]:
        validation = self._construction.validation
        held_out = {} if validation is None else {"validation": validation}
        return {"training": self._construction.samples, **held_out}

    def _folder_of(self, number: int) -> Path:
        return self._folder / f"layer-{number:05d}"

    def _last_layer(self) -> int:
        numbers = (int(f.name.removeprefix("layer-")) for f in self._folder.glob("layer-?????"))
        return max(numbers, default=0)

    def _read_features(self, number: int, name: str) -> FeatureStore:
        current = self._construction.samples.current
        features = FeatureStore(current.device, current.home)
        for file in sorted(self._folder_of(number).glob(f"{name}-*.npy")):
            features.append(read_array(file))
        return features


def check_rates(stored: RateHistory, own: RateHistory) -> None:
    """Raise ValueError unless the first rates of a history are those of the samples.

    They show what a digest of samples does not: a lift whose code has changed.
    """
    for name in ("expansion", "compression"):
        before, now = (float(getattr(history, name)[0]) for history in (stored, own))
        if not math.isclose(before, now, rel_tol=1e-4):
            raise ValueError(
                f"the checkpoint belongs to other features: their {name} rate was {before:.6g} "
                f"before the first layer, and is {now:.6g}; has the code of the lift changed?"
            )


def identity_of(construction: Construction, lift: nn.Module | None) -> Identity:
    """What a checkpoint belongs to, under names that can stand in a sentence.

    Settings and sizes are as JSON gives them, samples and tensors are digests. The number of layers
    and ``tol`` may change.
    """
    samples, info = construction.samples, construction.samples.info
    identity = construction.settings.to_json() | {
        "the version of redunet": __version__,
        "the shape of features": [info.channels, *info.spectrum.shape],
        "the type of features": str(info.dtype),
        "the list of batch sizes": samples.current.sizes,
        "the list of classes": samples.partition.classes,
        "the lift": lift_to_json(lift),
        "the tensors of the lift": str(Digest(*(lift.state_dict().values() if lift else ()))),
    }
    del identity["num_layers"], identity["tol"]
    for name, each in (("", samples), ("validation ", construction.validation)):
        if each is not None:
            identity[f"the {name}samples"], identity[f"the {name}labels"] = each.digests
    stored: Identity = json.loads(as_text(identity))
    return stored
