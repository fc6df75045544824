"""Exported files, which run without redunet."""

import json

import torch

from redunet import export


def graph_of(path):
    """The graph of a file as a function of samples. The file is read once."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    import onnxruntime  # slow, and most tests do without

    session = onnxruntime.InferenceSession(path)
    assert [i.name for i in session.get_inputs()] == ["X"]
    assert all(o.shape[0] == "batch" for o in (*session.get_inputs(), *session.get_outputs()))
    return lambda X: tuple(torch.from_numpy(o) for o in session.run(None, {"X": X.numpy()}))


def classes_of(path):
    """The classes that a file names."""
    if path.suffix == ".pt2":
        found = {"classes": ""}
        torch.export.load(path, extra_files=found)
    else:
        import onnx

        found = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    return json.loads(found["classes"])


def assert_graph_equals(net, path, *batches, features=1e-5, membership=1e-5):
    """Export a network to a file, and compare its graph with the network.

    The last two arguments are the largest absolute differences.
    """
    export(net, path, progress=False)
    assert classes_of(path) == net.classes_.tolist()
    graph = graph_of(path)
    for batch in batches:
        found = graph(batch)
        torch.testing.assert_close(found[0], net(batch), rtol=0, atol=features)
        torch.testing.assert_close(found[1], net.membership(batch), rtol=0, atol=membership)
        assert torch.equal(found[2], found[1].argmax(1))
