"""Streams of noise: no two keys share one, and what they give follows the laws far out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom, laplace, norm

from jobs import random
from jobs.noise import smoothing_noise
from jobs.random import generator, hash32, stream
from rsctl.errors import UnavailableError

CPU = torch.device("cpu")


def first(*key: int | str) -> bytes:
    return torch.rand(8, generator=stream(CPU, *key)).numpy().tobytes()


def test_keys_that_a_32_bit_seed_would_confuse_have_streams_of_their_own() -> None:
    """Real collisions: among 150,000 blocks some three pairs have one 32-bit hash."""
    seen: dict[int, tuple[int | str, ...]] = {}
    pairs = []
    for position in range(200):
        for block in range(500):
            key = (0, "estimation", position, block)
            other = seen.setdefault(hash32(*key), key)
            if other != key:
                pairs.append((key, other))
    assert pairs
    for key, other in pairs:
        assert torch.equal(
            torch.rand(8, generator=generator(CPU, *key)), torch.rand(8, generator=generator(CPU, *other))
        )
        assert first(*key) != first(*other)
    # And what torch's own seeding drops.
    assert first(5) != first(2**32 + 5)
    assert first(0, "estimation", 1, 12) != first(0, "estimation", 11, 2)


def test_a_stream_is_a_function_of_its_key_alone() -> None:
    before = torch.get_rng_state()
    torch.manual_seed(1)
    one = first(3, "selection", 7, 0)
    torch.rand(100)
    assert one == first(3, "selection", 7, 0)
    assert len({first(3, "selection", 7, block) for block in range(500)}) == 500
    torch.set_rng_state(before)


def test_the_state_is_the_key_s_shake_256() -> None:
    """So that the streams of another version of torch can be told from these: the first numbers, from the definition."""
    import hashlib

    words = [int(word) for word in np.frombuffer(hashlib.shake_256(b"3\0x").digest(2496), "<u4")]

    def tempered(number: int) -> int:
        """The twister's output, as numpy has it too."""
        bits = np.random.MT19937()
        bits.state = {"bit_generator": "MT19937", "state": {"key": np.array(words, np.uint32), "pos": 624}}
        return int(bits.random_raw(number + 1)[number])

    drawn = torch.randint(0, 2**24, (3,), generator=stream(CPU, 3, "x"))
    assert drawn.tolist() == [tempered(number) % 2**24 for number in range(3)]


def test_another_layout_of_the_state_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert random._layout_known()
    random._layout_known.cache_clear()
    monkeypatch.setattr(random, "FIRST", 32)
    with pytest.raises(UnavailableError, match="another version of torch"):
        stream(CPU, 1)
    random._layout_known.cache_clear()


def too_rare(hits: int, draws: int, probability: float) -> bool:
    """Whether a binomial count is one in a million, on either side."""
    law = binom(draws, probability)
    return bool(min(law.cdf(hits), law.sf(hits - 1)) < 5e-7)


@pytest.mark.parametrize("blocks", [40, pytest.param(1500, marks=pytest.mark.long)])
@pytest.mark.parametrize("law", ["gaussian", "laplace", "uniform"])
def test_the_tails_of_many_streams_together_are_those_of_the_law(law: str, blocks: int) -> None:
    """One draw in a million is looked at: what a correlation between streams, or too few bits, would spoil first."""
    cuts = {"gaussian": [3.0, 4.0, 4.5, 5.0], "laplace": [3.0, 6.0, 9.0], "uniform": [1.5, 1.73, 1.732]}[law]
    outside = {
        "gaussian": lambda cut: 2 * norm.sf(cut),
        "laplace": lambda cut: 2 * laplace(scale=0.5**0.5).sf(cut),
        "uniform": lambda cut: 1 - cut / 3**0.5,
    }[law]
    hits, draws, total, square = dict.fromkeys(cuts, 0), 0, 0.0, 0.0
    for block in range(blocks):
        x = smoothing_noise((100, 3, 32, 32), 1.0, 0, stream(CPU, "tails", block), law)
        draws += x.numel()
        total, square = total + float(x.double().sum()), square + float(x.double().square().sum())
        far = x.abs()
        far = far[far > cuts[0]]
        for cut in cuts:
            hits[cut] += int((far > cut).sum())
    for cut in cuts:
        assert not too_rare(hits[cut], draws, outside(cut)), (cut, hits[cut], outside(cut) * draws)
    assert abs(total) < 5 * draws**0.5
    kurtosis = {"gaussian": 3.0, "laplace": 6.0, "uniform": 1.8}[law]
    assert abs(square - draws) < 5 * ((kurtosis - 1) * draws) ** 0.5
