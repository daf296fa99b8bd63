"""Measures the speed of several tile sizes on a device, and chooses one where the sweep file leaves it open."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.sampler import ImageCounts, Sampler
from jobs.memory import ran_out
from jobs.precision import device_name
from rsctl.config.runs import CountSpec
from rsctl.errors import RefusedError
from rsctl.store.fields import TILE
from rsctl.store.files import publish, read_json, to_json
from rsctl.store.layout import Run

ON_A_CPU = 400
ON_A_GPU = (400, 1000, 2000, 4000, 8000, 16000)
SECONDS = 0.5
"""Duration of the timing of each, before a table is begun."""
WORTH_IT = 1.03
"""A larger tile has to be this much faster: it takes more memory, and more of it is padding where images stop early."""
FILE = "tile.json"

Rate = Callable[[int], float]


def tile_of(run: Run, spec: CountSpec, device: torch.device, rate: Rate) -> int:
    """The tile of this run, the same for all its tasks and attempts: the file's, or the one that its first task settled on.

    `rate` gives samples per second in tiles of some size. On a CPU the choice is not left to a stopwatch: what could be
    gained is a few per cent, and a table would be another one at every attempt to repeat it.
    """
    if spec.tile != "auto":
        return spec.tile
    file = run.path / FILE
    if not file.exists():
        among = (ON_A_CPU,) if device.type == "cpu" else ON_A_GPU
        tiles = list(dict.fromkeys(-(-tile // spec.block) * spec.block for tile in among))
        rates = rates_of(tiles, rate) if len(tiles) > 1 else {}
        chosen = fastest(rates) if rates else tiles[0]
        found = {"tile": chosen, "device": device_name(device), "samples_per_second": rates}
        publish(file, to_json(found))
    tile = read_json(file, TILE)["tile"]
    if type(tile) is not int or tile < 1 or tile % spec.block:
        raise RefusedError(
            f"{file}: tile = {tile} is no multiple of block = {spec.block}. Restore the file; without it the run settles on a "
            "tile anew, and images under way begin again."
        )
    return tile


def rates_of(tiles: Sequence[int], rate: Rate) -> dict[int, float]:
    """Samples per second by tile, ascending, up to the first that doesn't fit in memory. Raises if none fits."""
    rates: dict[int, float] = {}
    for tile in tiles:
        try:
            rates[tile] = rate(tile)
        except RuntimeError as error:
            if not ran_out(error) or not rates:
                raise
            break
    return rates


def fastest(rates: dict[int, float]) -> int:
    """The smallest tile that no other one beats by more than `WORTH_IT`."""
    best = max(rates.values())
    return min(tile for tile, rate in rates.items() if rate * WORTH_IT >= best)


def samples_per_second(
    network: nn.Module, x: Tensor, classes: int, sigma: float, tile: int, block: int, device: torch.device, seconds: float
) -> float:  # fmt: skip
    """Throughput of the sampler on images x (B, C, H, W), over at least so many seconds after one warm-up."""

    def sample(n: int) -> float:
        inputs = NoisyInputs(sigma, (0, "tile"), n, device)
        sampler = Sampler(network, classes, inputs, n0=block, tile=tile, block=block)
        started = time.perf_counter()
        under_way = (
            ImageCounts(i, 0, image, torch.zeros(2, classes, dtype=torch.int64)) for i, image in enumerate(x)
        )
        for _ in sampler.run(under_way):
            pass
        return len(x) * (n + block) / (time.perf_counter() - started)

    n = max(block, tile // len(x) // block * block)
    warm = sample(n)
    return sample(max(n, int(warm * seconds / len(x)) // block * block))
