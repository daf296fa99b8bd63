"""Keys of random streams. A stream is a function of its key alone: of no history, batch or machine.

A generator of a CPU is the Mersenne twister, and seeding it keeps 32 bits. Training draws so: its keys are hashed to
32 bits. What certifies is drawn from a `stream`, where no two keys ever share noise: a table has some ten million
blocks, and of so many 32-bit seeds some ten thousand would be equal.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import torch
from torch import Tensor

from rsctl.errors import UnavailableError

WORDS = 624
"""32-bit words of the Mersenne twister's state; torch keeps each in 64 bits, after three other numbers."""
FIRST = 24
"""The byte they begin at."""


def hash32(*key: int | str) -> int:
    """The first 32 bits of BLAKE2b over the parts of the key."""
    return int.from_bytes(hashlib.blake2b(_text(*key), digest_size=4).digest(), "little")


def generator(device: torch.device, *key: int | str, offset: int = 0) -> torch.Generator:
    """A generator on `device` whose stream depends on the key and the offset only."""
    made = torch.Generator(device)
    made.manual_seed((hash32(*key) + offset) % 2**32)
    return made


def stream(device: torch.device, *key: int | str) -> torch.Generator:
    """A generator from all of the key: on a CPU its SHAKE-256 fills the whole state, on a GPU it is a seed of 64 bits.

    Raises UnavailableError where this torch keeps the state of a CPU's generator in another way.
    """
    made = torch.Generator(device)
    if device.type != "cpu":
        made.manual_seed(int.from_bytes(hashlib.blake2b(_text(*key), digest_size=8).digest(), "little"))
        return made
    if not _layout_known():
        raise UnavailableError(
            f"torch {torch.__version__} stores the state of CPU generators in an unknown layout, so noise can't be keyed. "
            "Install another version of torch."
        )
    words = np.frombuffer(hashlib.shake_256(_text(*key)).digest(4 * WORDS), "<u4")
    made.set_state(_state(words))
    return made


def _text(*key: int | str) -> bytes:
    return "\0".join(str(part) for part in key).encode()


@cache
def _fresh() -> Tensor:
    """State of a newly seeded generator: the next number that is drawn makes a new round of words."""
    return torch.Generator().manual_seed(0).get_state()


def _state(words: np.ndarray) -> Tensor:
    """State of a newly seeded generator with these (624,) words."""
    state = _fresh().clone()
    state.numpy()[FIRST : FIRST + 8 * WORDS].view("<u8")[:] = words
    return state


@cache
def _layout_known() -> bool:
    """True if a seed's initial state (Matsumoto, Nishimura 1998), written into a generator by hand, gives that seed's numbers."""
    words = [5489]
    for number in range(1, WORDS):
        words.append((1812433253 * (words[-1] ^ words[-1] >> 30) + number) % 2**32)
    try:
        made = torch.Generator()
        made.set_state(_state(np.array(words)))
    except (RuntimeError, ValueError):
        return False
    seeded = torch.Generator().manual_seed(5489)
    same = torch.equal(torch.randn(4 * WORDS, generator=made), torch.randn(4 * WORDS, generator=seeded))
    return same and torch.equal(made.get_state()[FIRST:], seeded.get_state()[FIRST:])
