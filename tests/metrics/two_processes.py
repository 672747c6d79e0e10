"""One of two processes of a group that score what they have seen; run by test_processes.py."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from curvae.errors import InputError
from curvae.metrics.disentanglement import MIG
from curvae.metrics.frechet import Statistics, between


def found_by(rank: int) -> dict[str, float | str]:
    """Scores of both processes together, of one alone, and a distance that the first one computes."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(4, (60, 2), generator=generator)
    codes = factors + torch.randn(60, 2, generator=generator, dtype=torch.float64)

    def score(*rows: slice) -> float:
        metric = MIG()
        if rows[rank] != slice(0):
            metric.update(codes[rows[rank]], factors[rows[rank]])
        return float(metric.compute())

    found: dict[str, float | str] = {"split": score(slice(25), slice(25, None))}
    found |= {"first alone": score(slice(None), slice(0)), "last alone": score(slice(0), slice(None))}
    by_hand = MIG()
    if rank:
        by_hand.update(codes, factors)
    with by_hand.sync_context():
        found["by hand"] = len(by_hand.codes)
    try:
        score(slice(0), slice(0))
    except InputError as error:
        found["nobody"] = str(error)
    alone = MIG(sync_on_compute=False)
    alone.update(codes, factors)
    found["one process"] = float(alone.compute())
    if rank == 0:  # the other does not take part
        one = Statistics(torch.arange(2.0).double(), torch.eye(2).double(), 5)
        found["distance"] = between(one, Statistics(torch.zeros(2).double(), 4 * torch.eye(2).double(), 7))
    return found


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=2)
    print(json.dumps(found_by(rank)))
