"""Keys of random streams. A stream is a function of its key alone: of no history, batch or machine.

A CPU generator keeps 32 bits of its seed, so a key is hashed to 32 bits; within one image a block counter is
added, for hashes of single blocks would collide once in some ten thousand images.
"""

from __future__ import annotations

import hashlib

import torch


def hash32(*key: int | str) -> int:
    """The first 32 bits of BLAKE2b over the parts of the key."""
    text = "\0".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def generator(device: torch.device, *key: int | str, offset: int = 0) -> torch.Generator:
    """A generator on `device` whose stream depends on the key and the offset only."""
    made = torch.Generator(device)
    made.manual_seed((hash32(*key) + offset) % 2**32)
    return made
