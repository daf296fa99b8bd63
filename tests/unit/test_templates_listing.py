"""What few users need steps back: templates by paper and by what one machine can run, special names and keys marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsctl.catalog import known_datasets
from rsctl.cli.app import run
from rsctl.config.templates import all_templates, grouped
from rsctl.plan import runs_here
from rsctl.plan.cost import Cost


def test_every_template_is_listed_once_below_its_paper_or_what_runs_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert run(["templates"]) == 0
    blocks = [block.splitlines() for block in capsys.readouterr().out.strip().split("\n\n")]
    listed = {heading: [line.split()[0] for line in lines] for heading, *lines in blocks}
    assert sorted(name for names in listed.values() for name in names) == sorted(
        one.name for one in all_templates()
    )
    first = next(iter(listed))
    assert "without a GPU" in first
    assert listed[first][0] == "quickstart"
    assert listed["Cohen 2019"] == ["cohen2019-cifar10", "cohen2019-imagenet"]
    special = [line.split()[0] for line in blocks[0][1:] if "Special: " in line]
    assert special == ["distance-digits", "distance-mnist"] == listed[first][-2:]
    assert not {"catrs2023-mnist", "salman2019-cifar10", "ibp-cifar10"} & set(listed[first])


def test_a_papers_heading_is_an_author_with_a_year() -> None:
    first, *papers = grouped()
    assert all(any(part.isdigit() and len(part) == 4 for part in paper.split()) for paper in papers), papers
    assert all(one.gpus == "" for one in grouped()[first])


def test_what_runs_here_has_its_data_and_needs_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown() -> tuple[list[str], dict[str, str]]:
        assert run(["templates", "--runs-here"]) == 0
        here, _, lacking = capsys.readouterr().out.partition("\n\n")
        lines = [line.split(maxsplit=1) for line in lacking.splitlines()[1:]]
        return [line.split()[0] for line in here.splitlines()[1:]], {line[0]: line[1] for line in lines}

    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    monkeypatch.setenv("RSCTL_DATA", str(tmp_path / "data"))
    here, lacking = shown()
    assert here[0] == "quickstart"
    assert all("digits" in name for name in here[1:])
    assert len(here) + len(lacking) == len(all_templates())
    assert (
        lacking["cohen2019-cifar10"]
        == "data set cifar10 is missing ('rsctl data fetch cifar10'); needs a GPU"
    )
    assert lacking["cohen2019-imagenet"].startswith("data set imagenet is missing ('rsctl data list')")
    assert lacking["verify-mnist"] == "data set mnist is missing ('rsctl data fetch mnist')"
    assert lacking["cifar10-imagefolder-cpu"].startswith("no folder cifar10 with train and test")

    for name in ("mnist", "cifar10"):
        for path in known_datasets()[name].paths:
            (tmp_path / "data" / path).mkdir(parents=True)
    here, lacking = shown()
    assert {"verify-mnist", "lipschitz-mnist"} <= set(here)
    assert lacking["cohen2019-cifar10"] == "needs a GPU; its speed on this machine isn't measured"


@pytest.mark.parametrize(("hours", "listed"), [(23.0, True), (25.0, False)])
def test_a_measured_speed_decides_and_not_the_summary(hours: float, listed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    monkeypatch.setattr(runs_here, "estimate", lambda *_: Cost(hours, ("a CPU",), ()))
    assert run(["templates", "--runs-here"]) == 0
    here, _, lacking = capsys.readouterr().out.partition("\n\n")
    assert ("  quickstart " in here) == listed
    assert ("  quickstart                  would take 25 h 00 on a CPU" in lacking) != listed
    assert ("; here 23 h 00 on a CPU" in here) == listed


def test_a_speed_scaled_by_flops_doesnt_exclude_what_runs_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    monkeypatch.setattr(runs_here, "estimate", lambda *_: Cost(25.0, ("a CPU",), (), ("cnn",)))
    assert run(["templates", "--runs-here"]) == 0
    assert "  quickstart " in capsys.readouterr().out.partition("\n\n")[0]


def test_what_few_sweeps_need_is_marked_where_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain"]) == 0
    marked = {line.split()[0] for line in capsys.readouterr().out.splitlines() if "special: " in line}
    assert {"second-order", "linf-distance", "certification.gradient", "certification.compile"} <= marked
    assert not {"cohen", "resnet110", "certification.n"} & marked
    assert run(["explain", "certification.compile"]) == 0
    assert "Special: few sweeps need it." in capsys.readouterr().out
