"""Files: complete or not at all, without pickles, and graphs for other runtimes."""

from redunet.files.exporting import export

__all__ = ["export"]
