"""Commands about this machine: benchmark, diagnosis and data sets."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rsctl.cli.common import AsJson, leave
from rsctl.errors import InputError
from rsctl.plain import plain, printable
from rsctl.text import counted

if TYPE_CHECKING:
    from rsctl.config.settings import Place


def bench(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A trained run, or an architecture.")],
    dataset: Annotated[str, typer.Option(help="Data set to measure an architecture on.")] = "cifar10",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    sigma: Annotated[float, typer.Option(min=0, help="Noise level at which precisions are compared.")] = 0.5,
    compile_mode: Annotated[
        str,
        typer.Option(
            "--compile",
            help="Special: also measure the compiled model, as with certification.compile: default, or graphs on a GPU.",
        ),
    ] = "off",
    as_json: AsJson = False,
) -> None:
    """Measure a model's samples per second in each precision; 'rsctl check' uses them to estimate hours."""
    from rsctl.config.settings import load_settings
    from rsctl.plan.bench import bench, bench_text

    figures = bench(load_settings(), model, dataset, threads, sigma, compile_mode)
    print(json.dumps(figures) if as_json else bench_text(figures))


def doctor(
    as_json: AsJson = False,
    share: Annotated[
        bool,
        typer.Option(
            "--share",
            help="First open your files in the store to its group, as in a store that becomes a group's.",
        ),
    ] = False,
) -> None:
    """Diagnose problems of the store, data, packages, local queue and SLURM."""
    from rsctl.cluster.doctor import examine
    from rsctl.config.settings import load_settings

    place = load_settings()
    if share:
        _share(place)
    findings = examine(place)
    if as_json:
        print(json.dumps([finding.__dict__ for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{'ok     ' if finding.ok else 'PROBLEM'}  {finding.what}: {plain(finding.text)}")
    leave(0 if all(finding.ok for finding in findings) else 3)


def _share(place: Place) -> None:
    """Open this user's files in a store to the group that shares it."""
    from rsctl.store import sharing

    if not place.settings.of_group:
        raise InputError(
            'doctor: --share is for a store that a group shares: set store_mode = "group" in rsctl.toml first.'
        )
    print(
        f"opened to the group: {counted(sharing.share(place.store), 'file or folder', 'files and folders')}",
        file=sys.stderr,
    )


def data_list() -> None:
    """List the data sets, whether they are present, and the keys that a [dataset] table may set."""
    from rsctl.catalog import known_datasets
    from rsctl.catalog.presence import folder_sentence, own_folders, parameter_lines, presence
    from rsctl.config.settings import load_settings

    place = load_settings()
    print(f"data root: {place.data}")
    for name, text in presence(place.data):
        print(f"{name:16} {text}")
        for line in parameter_lines(known_datasets()[name]):
            print(f"{'':18} {line}")
    for name in own_folders(place.data):
        print(f"{printable(f'imagefolder {name!r}')} {printable(folder_sentence(place.data, name))}")


def data_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set from 'rsctl data list'.")],
) -> None:
    """Download a data set into the data root. Run it where there is internet access; compute nodes often have none."""
    import subprocess

    from rsctl.catalog import find, known_datasets
    from rsctl.config.settings import load_settings
    from rsctl.modules import module_command

    place = load_settings()
    find("data set", name, known_datasets())
    # torchvision does the work, and torch is loaded in a separate process.
    leave(subprocess.run(module_command("jobs.data.fetch", name, str(place.data))).returncode)
