"""Memory that nobody gave is reckoned and asked for, where a cluster hands memory out and takes the question."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rsctl.cluster.slurm.arrays import ON_A_GPU, Array, estimated_memory
from rsctl.cluster.slurm.commands import Partition, limits, partitions, with_memory
from rsctl.cluster.slurm.memory import PartitionMemory
from rsctl.config.sections import StageResources
from rsctl.config.settings import SlurmProfile
from rsctl.plan.tasks import Request, Task
from rsctl.store.files import replace as write
from rsctl.store.files import to_json
from rsctl.store.layout import Store

if TYPE_CHECKING:
    from sites import Site


def asked_for(site: Site) -> set[str]:
    return set(site.cluster.query("squeue", "-h", "--states=all", "-o", "%m").split())


def test_what_nobody_gave_is_reckoned(site: Site) -> None:
    site.sweep()
    site.behave(wait=True)
    site.submit()
    assert asked_for(site) >= {"1G"}
    site.rsctl("cancel", "try")
    site.wait()
    site.rsctl("retry", "try", "--memory-gb", "2", fake=True)
    assert "2G" in asked_for(site)


@pytest.mark.long
def test_a_site_that_refuses_it_is_asked_without(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        '#!/bin/bash\nif grep -q -- --mem= "${@: -1}"; then echo "sbatch: error: Memory specification can not be satisfied" >&2; exit 1; fi\n'
        f'exec {shutil.which("sbatch")} "$@"\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    site.sweep(certification={"shards": 1})
    site.profile("given", memory_gb=1)
    assert "Check profiles.given: memory_gb" in site.submit("--cluster", "given", code=2)
    site.submit()
    assert site.wait() == ["done"] * 2, site.explain()


def test_a_partition_is_read_with_its_cluster(site: Site) -> None:
    partition = with_memory(partitions()["cpu"], limits())
    assert partition.memory is not None
    assert partition.memory.default(3) == pytest.approx(300 / 1024)
    assert partition.memory.most(3) == math.inf
    assert with_memory(partition, replace(limits(), memory=None)) is partition


NONE = PartitionMemory.of({})
PER_CPU = PartitionMemory.of({"DefMemPerCPU": "2048", "MaxMemPerCPU": "4096"})


@pytest.mark.parametrize(
    ("memory", "extra", "reckoned", "on_gpus", "expected"),
    [
        (None, {}, 9, False, None),  # not handed out
        (NONE, {}, 9, False, None),  # every job gets its node's
        (PER_CPU, {}, 3, False, None),  # 2 threads get 4 GB anyway
        (PER_CPU, {}, 5, False, 5),
        (PER_CPU, {}, 5, True, 8),
        (PER_CPU, {}, 20, False, 8),  # no more than the partition gives
        (PartitionMemory.of({"DefMemPerNode": "1024"}), {}, 300, False, 100),  # nor than its nodes have
        (PER_CPU, {"mem-per-cpu": "6G"}, 9, False, None),  # said otherwise
        (PER_CPU, {}, 0, False, None),  # of an older version
        (PartitionMemory.of({"DefMemPerNode": "0"}).over(PER_CPU), {}, 5, False, 5),
    ],
)
def test_only_where_it_is_missing(
    tmp_path: Path,
    memory: PartitionMemory | None,
    extra: dict[str, str],
    reckoned: float,
    on_gpus: bool,
    expected: float | None,
) -> None:
    run = Store(tmp_path).run("models", "a")
    write(
        run.path / "launch.json",
        to_json({"code": "", "data": "", "plugins": [], "threads": 2, "reckoned_gb": reckoned}),
    )
    array = Array((Request(Task(run, 0), (), StageResources(threads=2), "code", 0),), ())
    partition = Partition("p", True, True, math.inf, 8, 100.0, 0, memory)
    assert estimated_memory(array, SlurmProfile(extra=extra), partition, on_gpus) == expected


def test_the_memory_of_a_gpu_is_not_asked_of_its_node(tmp_path: Path) -> None:
    run = Store(tmp_path).run("models", "a")
    launch = {"code": "", "data": "", "plugins": [], "threads": 2, "reckoned_gb": 24.0, "network_gb": 19.0}
    write(run.path / "launch.json", to_json(launch))
    array = Array((Request(Task(run, 0), (), StageResources(threads=2), "code", 0),), ())
    partition = Partition(
        "p", True, True, math.inf, 8, 100.0, 0, PartitionMemory.of({"DefMemPerNode": "1024"})
    )
    assert estimated_memory(array, SlurmProfile(), partition, on_gpus=False) == 24
    assert estimated_memory(array, SlurmProfile(), partition, on_gpus=True) == 5 + ON_A_GPU
