"""A network that is invariant to the position of digits, from ten digits of each class.

Images are treated as periodic, and the network is invariant to all cyclic translations. Figures 16
(e)–(h) and Table 15 of the ReduNet paper (JMLR 2022), which takes up to 75 channels. The precision
and the steps are those of the paper. ``python -m benchmarks.paper_tables --table 15-settings``
compares them with the defaults of the package, which are more accurate.
"""

from invariance import argument_parser, draw, print_accuracies, training_and_test_digits
from redunet import RandomCirculantLift, ReduNet


def main() -> None:
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=15, help="channels after the lift")
    parser.add_argument(
        "--kernel-size", type=int, help="default: 9 for MNIST, 3 for embedded digits"
    )
    parser.add_argument("--layers", type=int, default=25)
    options = parser.parse_args()

    train, test = training_and_test_digits(options.per_class, options.data_dir)
    side = train[0].shape[-1]
    kernel_size = options.kernel_size or (9 if side == 28 else 3)
    net = ReduNet.construct(
        *train,
        num_layers=options.layers,
        eta=options.eta,
        eps_sq=options.eps_sq,
        lift=RandomCirculantLift(1, options.channels, kernel_size, ndim=2, seed=options.seed),
        validation=test,
        progress=True,
    )
    stride = side // 4
    print_accuracies(net, train, test, stride)
    draw(net, train, test, stride, options.figures / "translated_mnist.png")


if __name__ == "__main__":
    main()
