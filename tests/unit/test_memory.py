"""A task's process uses freed memory again, and says what to change when there is no more."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from chain import Chain, tiny

from jobs import bench
from jobs.certify import count
from jobs.memory import sized_by
from rsctl.errors import UnavailableError

PROGRAM = """
import resource, sys, torch
from jobs.precision import configure
if sys.argv[1] == "configured":
    configure("fp32", 1)
network = torch.nn.Sequential(*(torch.nn.Conv2d(16, 16, 3, padding=1) for _ in range(4)))
x, faults = torch.ones(200, 16, 32, 32), []
for _ in range(40):  # its heap has found its size after some
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(x).sum().backward()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(faults[-4:]))
"""


@pytest.mark.long
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_the_pages_of_a_tensor_that_was_freed_serve_the_next_one() -> None:
    def faults(mode: str) -> int:
        command = [sys.executable, "-c", PROGRAM, mode]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # Without either of the two settings there are as many faults as without both.
    plain = faults("plain")
    assert plain > 500
    assert faults("configured") < plain / 20


HUGE = 10**12
"""Images of a tile or a batch that no machine holds; the system refuses them at once."""


def test_a_tile_that_does_not_fit_names_its_key(chain: Chain) -> None:
    training, first, *_ = chain.plan(tiny(certification={"tile": HUGE, "block": 50})).requests
    chain.run(training.task)
    with pytest.raises(
        UnavailableError, match=rf"^certification\.tile = {HUGE}: out of memory \(.*smaller one"
    ):
        chain.run(first.task)


def test_a_probe_that_finds_no_memory_at_all_names_the_key_too(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, first, *_ = chain.plan(tiny(certification={"tile": "auto"})).requests
    chain.run(training.task)

    def probe(*_: object) -> int:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(count, "tile_of", probe)
    with pytest.raises(UnavailableError, match=r"^certification\.tile = auto: out of memory"):
        chain.run(first.task)


def test_what_has_nothing_to_do_with_memory_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), sized_by("certification.tile", 1, ""):
        raise RuntimeError("shapes cannot be multiplied")
    for error in (
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        torch.OutOfMemoryError("of 80 GiB"),
    ):
        with (
            pytest.raises(UnavailableError, match=r"^training\.batch_size = 7: "),
            sized_by("training.batch_size", 7, "Take less."),
        ):
            raise error


def test_bench_leaves_out_the_tiles_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "TILES", {"cpu": (100, HUGE)})
    monkeypatch.setattr(bench, "SECONDS", 0.01)
    found = bench.bench(None, "cnn", "digits", {}, tmp_path, 1, 0.5)
    assert [list(row["rates"]) for row in found["rows"]] == [[100], [100]]
    monkeypatch.setattr(bench, "TILES", {"cpu": (HUGE,)})
    arguments = [
        "--model",
        "cnn",
        "--dataset",
        "digits",
        "--data",
        str(tmp_path),
        "--threads",
        "1",
        "--sigma",
        "0.5",
    ]
    if not torch.cuda.is_available():
        assert bench.main(arguments) == 3
