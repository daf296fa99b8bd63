"""What interval bounds cost, in forward passes of the same images: python tests/benchmarks/verify_speed.py [--json].

One radius for every image (what a table with one column needs), against the executed function's own forward pass over the
same batches, both on this machine's CPU or first GPU. Linear bounds are timed too, on fewer images.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor

from jobs.models import build_model
from jobs.precision import configure, device_name
from jobs.verifiers import crown, ibp
from jobs.verifiers.prover import RadiusSearch
from rsctl.catalog import known_datasets, known_verifiers
from rsctl.catalog.declare import DataShape


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """CPU time of one call, which other processes don't change; on a GPU wall time, its work waited for."""
    if device.type == "cpu":
        started = time.process_time()
        run()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--linear-images", type=int, default=0, help="images that linear bounds are timed on")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--radius", type=float, default=2 / 255)
    parser.add_argument(
        "--rounds", type=int, default=5, help="each is timed so often, alternating; medians count"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    device = configure("fp32", arguments.threads)
    torch.manual_seed(0)
    dataset = known_datasets()[arguments.dataset]
    assert dataset.size
    shape = DataShape(dataset.channels, dataset.size, dataset.classes or 10, {})
    model = build_model(arguments.model, {}, dataset=dataset, shape=shape).eval().to(device)
    parameters = known_verifiers()["ibp"].parameters()
    prover = ibp.prepare(
        model, parameters, shape=shape, norm="linf", radii=[arguments.radius], precision="fp32"
    )
    count, batch = arguments.images, prover.batch
    images = torch.rand(count, shape.channels, shape.size, shape.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        labels = torch.cat([prover.executed(part).argmax(1) for part in images.split(batch)])

        def forward() -> None:
            for part in images.split(batch):
                prover.executed(part).argmax(1)

        def bounds() -> None:
            radius = torch.full((batch,), arguments.radius, dtype=torch.float64, device=device)
            for part, y in zip(images.split(batch), labels.split(batch), strict=True):
                prover.proved(part, y, radius[: len(part)])

        def whole(one: RadiusSearch, labels: Tensor) -> None:
            for part, y in zip(images.split(batch), labels.split(batch), strict=True):
                one.verify(part, y)

        # A proof says what is predicted; who proves nothing of what is classified rightly pays for both.
        sure = copy.deepcopy(model)
        next(p for name, p in reversed(list(sure.named_parameters())) if name.endswith("bias")).data[0] += 1e4
        every, none = (
            ibp.prepare(one, parameters, shape=shape, norm="linf", radii=[radius], precision="fp32")
            for one, radius in ((sure, arguments.radius), (model, 0.5))
        )
        tasks = {
            "forward": forward,
            "ibp bounds": bounds,
            "ibp verify, every image proved": lambda: whole(every, torch.zeros_like(labels)),
            "ibp verify, none": lambda: whole(none, labels),
        }
        times: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(arguments.rounds):
            for name, run in tasks.items():
                times[name].append(seconds(run, device))
        middle = {name: sorted(each)[len(each) // 2] for name, each in times.items()}
    rows = [
        {"task": name, "images": count, "seconds": round(taken, 3), "forward_passes": round(taken / middle["forward"], 2)}
        for name, taken in middle.items()
    ]  # fmt: skip
    if arguments.linear_images:
        few, y = images[: arguments.linear_images], labels[: arguments.linear_images]
        for intermediate in ("ibp", "crown"):
            linear = crown.prepare(
                model, known_verifiers()["crown"].parameters(intermediate=intermediate),
                shape=shape, norm="linf", radii=[arguments.radius], precision="fp32",
            )  # fmt: skip
            taken = seconds(lambda linear=linear: linear.verify(few, y), device)  # type: ignore[misc]
            passes = taken / len(few) / (middle["forward"] / count)
            rows.append({"task": f"crown, intermediate {intermediate}", "images": len(few), "seconds": round(taken, 3), "forward_passes": round(passes, 1)})  # fmt: skip
    about = {
        "model": arguments.model,
        "dataset": arguments.dataset,
        "device": device_name(device),
        "threads": arguments.threads,
        "batch": batch,
    }
    if arguments.json:
        print(json.dumps({**about, "rows": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    for row in rows:
        print(
            f"{row['task']:32} {row['images']:6} images {row['seconds']:9.3f} s {row['forward_passes']:8.2f} forward passes"
        )


if __name__ == "__main__":
    main()
