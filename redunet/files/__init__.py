"""Files of tensors without pickles, files that are written atomically, and exported graphs."""

from redunet.files.exporting import export

__all__ = ["export"]
