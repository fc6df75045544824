"""Construct one network in several processes that each hold a shard of the samples.

    torchrun --nproc-per-node 2 examples/distributed.py

Every process ends with the network of all samples. The processes exchange second moments and
operators. If there are GPUs, each process uses one.
"""

import argparse
import os

import torch
import torch.distributed as dist

from redunet import ReduNet, datasets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data-dir",
        default=os.environ.get("REDUNET_DATA"),
        help="folder of MNIST's IDX files (default: $REDUNET_DATA; without it, embedded digits)",
    )
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument(
        "--rank", type=int, help="rank of variational operators (default: exact operators)"
    )
    parser.add_argument("--checkpoint", help="folder from which to resume after an interruption")
    parser.add_argument("--save", help="file for the network")
    options = parser.parse_args()
    if "RANK" not in os.environ:
        parser.error(f"start it with: torchrun --nproc-per-node 2 {parser.prog}")

    on_gpu = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)  # NCCL exchanges objects through the current GPU
    dist.init_process_group("nccl" if on_gpu else "gloo")
    rank, size = dist.get_rank(), dist.get_world_size()

    X, labels = training_samples(options.data_dir)
    net = ReduNet.construct(
        X[rank::size],  # in practice, each process reads only its own shard
        labels[rank::size],
        num_layers=options.layers,
        eps_sq=0.5,
        operators="variational" if options.rank else "exact",
        rank=options.rank,
        checkpoint=options.checkpoint,
        process_group=dist.group.WORLD,
        device=device,
        progress=True,
    )
    accuracy = (net.predict(X[rank::size]) == labels[rank::size].numpy()).mean()
    print(f"process {rank} of {size}: {len(X[rank::size])} samples, {accuracy:.3f} of them right")
    if rank == 0:
        print(
            f"rate reduction {net.history.delta[0]:.3f} before, {net.history.delta[-1]:.3f} after"
        )
        if options.save:
            net.save(options.save)
    dist.destroy_process_group()


def training_samples(data_dir: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits as vectors: 500 of each class of MNIST, or all embedded digits."""
    if not data_dir:
        X, labels = datasets.digits()
        return X.flatten(1), labels
    X, labels = datasets.mnist("train", data_dir)
    rows = datasets.subsample(labels, 500)
    return X[rows].flatten(1), labels[rows]


if __name__ == "__main__":
    main()
