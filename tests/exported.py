"""Exported files, which run without redunet."""

import torch

from redunet import export


def graph_of(path):
    """The graph of a file as a function of samples. The file is read once."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    import onnxruntime  # slow, and most tests do without

    session = onnxruntime.InferenceSession(path)
    assert [i.name for i in session.get_inputs()] == ["X"]
    return lambda X: tuple(torch.from_numpy(o) for o in session.run(None, {"X": X.numpy()}))


def assert_graph_equals(net, path, *batches, features=1e-5, membership=1e-5):
    """Export a network to a file, and compare its graph with the network.

    The last two arguments are the largest absolute differences.
    """
    export(net, path)
    graph = graph_of(path)
    for batch in batches:
        found = graph(batch)
        torch.testing.assert_close(found[0], net(batch), rtol=0, atol=features)
        torch.testing.assert_close(found[1], net.membership(batch), rtol=0, atol=membership)
