"""Names in the paths of public logs: data sets, networks, seeds and other noise, none taken for a likelier one."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import pytest

from rsctl.report.radius_logs.import_logs import GivenFacts, Imported, import_logs
from rsctl.report.radius_logs.logs import parse_log
from rsctl.report.radius_logs.paths import read_path
from rsctl.report.radius_logs.sigma import settle
from rsctl.store.layout import Store

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime"


@pytest.mark.parametrize(
    ("path", "dataset", "model", "method"),
    [
        ("fashion-mnist/cohen/sigma_0.25", "fashion-mnist", "", "cohen"),
        ("fmnist/noise_0.25/cohen/noise_0.25.tsv", "fashion-mnist", "", "cohen"),
        ("tiny-imagenet/macer/sigma_0.25", "tiny-imagenet", "", "macer"),
        ("TinyImageNet/macer/sigma_0.25", "tiny-imagenet", "", "macer"),
        ("imagenet32/macer/sigma_0.25", "imagenet32", "", "macer"),
        ("cifar10c/severity_2/stab/sigma_0.25", "cifar10-c", "", "severity_2/stab"),
        ("cifar10.1/stab/sigma_0.25", "", "", "cifar10.1/stab"),
        ("CIFAR-10/ResNet-110/x/sigma_0.25", "cifar10", "resnet110", "x"),
        ("cifar_100/cifar_resnet110/x/sigma_0.25", "cifar100", "resnet110", "x"),
        ("ImageNet/x/seresnet50/sigma_0.25", "imagenet", "seresnet50", "x"),
        ("x/se_resnet50/sigma_0.25", "", "se_resnet50", "x"),
        ("x/wide_resnet28_10/sigma_0.25", "", "wide_resnet28_10", "x"),
        ("x/cifar_wrn40_2/sigma_0.25", "", "wrn40_2", "x"),
        ("x/resnet152_90epochs/sigma_0.25", "", "resnet152", "x/90epochs"),
        ("pgd_from_imagenetPGD/cifar10/sigma_0.25", "cifar10", "", "pgd_from_imagenetPGD"),
        ("sigma=0.25,seed=1.tsv", "", "", "given"),
    ],
)  # fmt: skip
def test_no_name_is_taken_for_one_that_ends_it(path: str, dataset: str, model: str, method: str) -> None:
    told = read_path(Path("given", path), Path(path), Path("/logs/given"))
    assert (told.dataset, told.model, told.method) == (dataset, model, method)


@pytest.mark.parametrize(
    ("path", "seed", "method"),
    [("noise_0.25_77", 77, "given"), ("noise_0.05_100_1000_p_10", None, "100_1000_p_10")],
)
def test_several_numbers_behind_a_level_are_no_seed(path: str, seed: int | None, method: str) -> None:
    told = read_path(Path(path), Path(path), Path("/logs/given"))
    assert (told.seed, told.method) == (seed, method)


def test_a_level_that_is_called_the_trainings_is_its() -> None:
    told = read_path(Path("train_sigma_0.5_test_sigma_0.25"), Path("x"), Path("/logs/given"))
    noise = settle(told.levels, 0.9, None)
    assert (noise.sigma, noise.trained) == (0.25, 0.5)


@pytest.mark.parametrize(
    "folder", ["rotation", "gaussian_blur_uniform_dist", "translation_reflectpad", "LaplaceNoise"]
)
def test_other_noise_is_asked_about(tmp_path: Path, folder: str) -> None:
    logs = tmp_path / "logs"
    for i, name in enumerate((folder, "l2", "contrastive", "cifar10-c/brightness")):
        (logs / name).mkdir(parents=True)
        (logs / name / "sigma_0.25").write_text(f"{HEADER}\n{i}\t3\t3\t0.25\t1\t1\n")
    store = Store(tmp_path / "runs")
    found = {Path(one.file).parent.name: one for one in import_logs(store, "s", [logs], GivenFacts())}
    assert {found[name].state for name in ("l2", "contrastive", "brightness")} == {"new"}
    assert found[folder].state == "skipped"
    assert "--certificate cohen" in found[folder].remarks[0]
    # A name that rsctl doesn't know would stand above radii in ℓ2.
    (again,) = import_logs(store, "s", [logs / folder], GivenFacts(certificate="rotation"))
    assert again.state == "skipped"
    (again,) = import_logs(store, "s", [logs / folder], GivenFacts(certificate="cohen"))
    assert again.state == "new"


def test_numbers_that_torch_printed_are_read() -> None:
    rows = ["0\ttensor([7])\t7\t0.616\t1\t1", "1\ttensor(2, device='cuda:0')\t2\ttensor(0.5)\t1\t1"]
    log = parse_log("\n".join([HEADER, *rows]) + "\n")
    assert log.radii.label.tolist() == [7, 2]
    assert log.radii.radius.tolist() == [0.616, 0.5]
    assert log.losses == []


def test_what_is_no_file_is_waited_for_by_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sigma_0.25")
    found: list[Imported] = []
    store = Store(tmp_path / "runs")
    reader = Thread(
        target=lambda: found.extend(import_logs(store, "s", [tmp_path], GivenFacts())), daemon=True
    )
    reader.start()
    reader.join(10)
    assert [(one.state, one.remarks) for one in found] == [
        ("skipped", ["it is a pipe, where a file is needed"])
    ]


@pytest.mark.parametrize("alpha", [None, 0.001])
@pytest.mark.parametrize("radius", ["0.1", "0.3", "0.55", "0.6", "0.8"])
def test_radii_far_below_the_cap_of_the_stated_n_come_in(
    tmp_path: Path, radius: str, alpha: float | None
) -> None:
    rows = "".join(f"{i}\t1\t1\t{radius}\t1\t1\n" for i in range(10))
    (tmp_path / "sigma_0.25").write_text(f"{HEADER}\n{rows}")
    said = GivenFacts(n=100_000, alpha=alpha, sigma=0.25)
    (one,) = import_logs(Store(tmp_path / "runs"), "s", [tmp_path / "sigma_0.25"], said)
    assert (one.state, one.alpha) == ("new", alpha)
    if alpha is None:
        assert one.remarks == []
    elif float(radius) < 0.5:
        assert one.remarks[0].endswith("is sigma = 0.25 right?")
    else:
        assert "as if it were the cap; at the stated alpha it is that of n = " in one.remarks[0]
        assert "or at this n of alpha" not in one.remarks[0]
