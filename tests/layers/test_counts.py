"""How much a layer asks of a device: operations, and points at which the host waits for it.

Tensors on the meta device have no values, so a network that runs on it reads none. It also takes
the way of a GPU, because the shortcuts that read values are for a CPU.
"""

import math

import pytest
import torch

from redunet import RandomCirculantLift, ReduNet, SharedDictionary
from redunet.layers import DenseOperator, LowRankOperator
from redunet.layers.operators import responses as module
from tests.counting import count
from tests.samples import responses_of

# The largest number of operations of one more layer of a construction, with a given step, in memory
# and in one batch. It waits twice at most.
CONSTRUCTION = {
    "vectors": 80,
    "images": 80,
    "few samples": 80,
    "few images": 80,
    "variational": 120,
    "shared dictionary": 220,
    "shared dictionary of images": 220,
}
# The largest number of operations of one more layer of net(X). It never waits.
NETWORK = 50
SMALL, LARGE = (120, 3), (400, 20)  # numbers of samples and classes; the bounds hold for both
WAYS = {
    "vectors": ((20,), {}),
    "images": ((16, 8, 8), {}),
    "variational": ((20,), {"operators": "variational", "rank": 3}),
    "shared dictionary": ((20,), {"operators": SharedDictionary(60)}),
    "shared dictionary of images": ((20, 4, 4), {"operators": SharedDictionary(60)}),
    "hard": ((16, 8, 8), {"lam": math.inf}),
    "rectified": ((16, 8, 8), {"membership": "rectified"}),
    "momentum": ((20,), {"momentum": 0.5}),
    "lifted": ((2, 8, 8), {"lift": RandomCirculantLift(2, 8, 3, ndim=2)}),
    "few samples": ((120,), {}),
    "few images": ((60, 4, 4), {}),
}


def data(way, m, k):
    """Samples around centres of classes, with labels, and settings."""
    shape, options = WAYS[way]
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(m) % k
    X = torch.randn(k, *shape, generator=generator)[labels]
    X = (X + torch.randn(m, *shape, generator=generator)).relu()
    return X, labels, {"eps_sq": 0.1, "eta": 0.02, **options}


def constructed(way, layers, m, k):
    X, labels, options = data(way, m, k)
    return ReduNet.construct(X, labels, num_layers=layers, **options), X


@pytest.fixture
def never_reading(monkeypatch):
    """Values are not read on a CPU either, and blocks are as large, as on a GPU."""
    monkeypatch.setitem(module.COST_OF_READING, "cpu", math.inf)
    monkeypatch.setitem(module.BLOCK_BYTES, "cpu", module.BLOCK_BYTES["cuda"])


@pytest.mark.parametrize("sizes", [SMALL, LARGE])
@pytest.mark.parametrize("way", CONSTRUCTION)
def test_a_layer_of_a_construction_takes_few_operations(way, sizes, never_reading):
    m, k = sizes if not way.startswith("few") else (sizes[1] * 10, sizes[1])
    two, three = (count(lambda n=n: constructed(way, n, m, k)) for n in (2, 3))
    layer = three - two
    assert layer.operations.total() <= CONSTRUCTION[way], layer
    assert layer.synchronisations.total() <= 2, layer


@pytest.mark.parametrize("sizes", [SMALL, LARGE])
@pytest.mark.parametrize("way", WAYS)
def test_a_network_reads_no_value_of_a_device(way, sizes):
    m, k = sizes if not way.startswith("few") else (sizes[1] * 10, sizes[1])
    nets = [constructed(way, n, m, k)[0].to("meta") for n in (2, 3)]
    X = data(way, m, k)[0].to("meta")
    two, three = (count(lambda net=net: net(X)) for net in nets)
    assert not three.synchronisations, three
    assert (three - two).operations.total() <= NETWORK, three - two
    assert three.operations.total() <= 90 + 3 * NETWORK, three
    count_of_membership = count(lambda: nets[0].membership(X))
    assert not count_of_membership.synchronisations, count_of_membership


@pytest.mark.parametrize("way", WAYS)
def test_features_without_reading_values_are_equal(way, monkeypatch):
    m, k = (30, 3) if way.startswith("few") else SMALL
    net, X = constructed(way, 3, m, k)
    net, X = net.double(), X.double()
    expected = net(X), net.membership(X)
    monkeypatch.setitem(module.COST_OF_READING, "cpu", math.inf)
    torch.testing.assert_close((net(X), net.membership(X)), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("block_bytes", [1, 2**24])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("kind", [DenseOperator, LowRankOperator])
def test_norms_and_sums_without_reading_values(
    kind, dtype, block_bytes, never_reading, monkeypatch
):
    monkeypatch.setitem(module.BLOCK_BYTES, "cpu", block_bytes)
    F, m, k, C, r = 5, 7, 4, 6, 2
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    compression = random(F, k, C, C)
    operator = DenseOperator(compression)
    if kind is LowRankOperator:
        factors, scales = random(F, k, r, C), torch.rand(k, generator=generator).double()
        operator = LowRankOperator(factors, scales)
        compression = torch.eye(C, dtype=dtype) - factors.mH @ factors
        compression = scales[:, None, None] * compression
    V, weights = random(F, m, C), torch.rand(m, k, generator=generator).double()
    expected = torch.einsum("fkab,fmb->fmka", compression, V)
    responses = responses_of(operator, V)
    torch.testing.assert_close(responses.norms(), expected.abs().square().sum((0, 3)).sqrt())
    sums = torch.cat(list(responses.combine(weights)))
    torch.testing.assert_close(sums.data, torch.einsum("mk,fmka->fma", weights.to(dtype), expected))


@pytest.mark.parametrize(
    ("way", "backend"), [*((way, "eager") for way in WAYS), ("images", "aot_eager")]
)
def test_a_network_compiles_to_one_graph(way, backend):
    m, k = (30, 3) if way.startswith("few") else SMALL
    net, X = constructed(way, 2, m, k)
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(X), net(X), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype:UserWarning")
@pytest.mark.parametrize("way", WAYS)
def test_a_network_is_captured_in_a_cuda_graph(way):
    m, k = (30, 3) if way.startswith("few") else SMALL
    net, X = constructed(way, 2, m, k)
    net, X = net.cuda(), X.cuda()
    other = X.flip(0)
    expected = net(X), net(other)
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")  # an operation that waits raises an error
        net(X)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph, static = torch.cuda.CUDAGraph(), X.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        net(static)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        features = net(static)
    for samples, result in zip((X, other), expected, strict=True):
        static.copy_(samples)
        graph.replay()
        torch.testing.assert_close(features, result, rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_samples_on_a_gpu_that_are_not_finite_become_nan():
    net, X = constructed("vectors", 2, *SMALL)
    net = net.cuda()
    X[3, 5] = math.inf
    with pytest.raises(ValueError, match="X must be finite: 1 of 2400 values"):
        net(X)
    features = net(X.cuda())
    assert features[3].isnan().all()
    assert features[:3].isfinite().all()
    with pytest.raises(ValueError, match="X must be finite: 1 of 120 samples have no membership"):
        net.predict(X.cuda())


@pytest.mark.parametrize("way", ["vectors", "images", "hard", "few images"])
def test_unchecked_samples_that_are_not_finite_become_nan(way, monkeypatch):
    monkeypatch.setattr("redunet._checks.check_finite", lambda X, name: None)
    m, k = (30, 3) if way.startswith("few") else SMALL
    net, X = constructed(way, 2, m, k)
    clean = net(X)
    X[3].view(-1)[5], X[7].view(-1)[0] = math.inf, math.nan
    features, membership = net(X), net.membership(X)
    others = [i for i in range(m) if i not in (3, 7)]
    assert features[[3, 7]].isnan().all()
    assert membership[[3, 7]].isnan().all()
    torch.testing.assert_close(features[others], clean[others], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=f"X must be finite: 2 of {m} samples have no membership"):
        net.predict(X)
