"""Pictures; :mod:`redunet.plots` has them all."""
