"""FLOPs of one forward pass: `python -m jobs.forward`, a JSON list of networks on stdin, of numbers (or null) on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from jobs.models import build_model
from rsctl.catalog import find, known_datasets
from rsctl.catalog.declare import DataShape
from rsctl.errors import UserError


def flops(asked: dict[str, Any]) -> float | None:
    """FLOPs per image; None for a network that can't be built from its name alone."""
    shape = DataShape(asked["channels"], asked["size"], asked["classes"], {})
    try:
        dataset = find("data set", asked["dataset"], known_datasets())
        model = build_model(asked["model"], asked["parameters"], dataset=dataset, shape=shape).eval()
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, shape.channels, shape.size, shape.size))
    except (UserError, RuntimeError, ValueError, TypeError):
        return None
    return float(counter.get_total_flops()) or None


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps([flops(one) for one in json.load(sys.stdin)]))
