"""`rsctl certify|predict|attack CHECKPOINT`: one published model, no sweep file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from rsctl.cli.common import AsJson, leave, tell
from rsctl.cli.model import named_weights
from rsctl.cli.set_values import given_tables, merged
from rsctl.cli.submit import submit_sweep
from rsctl.errors import InputError, RefusedError, UnavailableError, unknown
from rsctl.plain import plain

File = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Published weights: a file, a folder, or timm:NAME, torchvision:NAME, hf:OWNER/NAME.",
    ),
]
Dataset = Annotated[str, typer.Option(help="Data set that it classifies.")]
Sigma = Annotated[float, typer.Option(min=0, max=100, help="Noise level of the smoothed classifier.")]
Normalisation = Annotated[
    str,
    typer.Option(
        help="dataset, none, centre, half, imagenet, mnist, or numbers: mean,…/deviation,…; by default inferred from the file's layout."
    ),
]
Part = Annotated[str, typer.Option(help="Branch to load from a file with several networks, such as ema.")]
Arch = Annotated[
    str,
    typer.Option(
        help="Architecture, or a library's: timm:NAME; by default inferred from the shapes of its layers."
    ),
]
Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway", help="Continue even if accuracy is near chance or another normalisation fits better."
    ),
]
Images = Annotated[int, typer.Option(min=0, help="Maximum number of images; 0 takes all.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other key of a sweep file, as KEY=VALUE."),
]
Cluster = Annotated[str, typer.Option(help="Profile of rsctl.toml.")]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until it has finished, then print the table.")
]
Name = Annotated[
    str,
    typer.Option(help="Name of the sweep that is created; by default made from the file and the settings."),
]


def certify(
    file: File,
    dataset: Dataset,
    sigma: Sigma,
    n0: Annotated[int, typer.Option(min=1, help="Selection draws.")] = 100,
    n: Annotated[int, typer.Option(min=1, help="Estimation draws.")] = 100_000,
    alpha: Annotated[float, typer.Option(help="Failure probability per image.")] = 0.001,
    certificate: Annotated[
        list[str] | None, typer.Option(help="Certificate; may be repeated; by default runner-up.")
    ] = None,
    skip: Annotated[int, typer.Option(min=1, help="Take every STRIDE-th image.")] = 1,
    max_images: Images = 500,
    tile: Annotated[
        str, typer.Option(help="Images per forward pass; auto picks the fastest on the GPU.")
    ] = "400",
    shards: Annotated[int, typer.Option(min=1, help="Parallel tasks.")] = 1,
    normalisation: Normalisation = "",
    part: Part = "",
    arch: Arch = "",
    anyway: Anyway = False,
    settings: Settings = None,
    cluster: Cluster = "",
    name: Name = "",
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Certify a published checkpoint. Repeated with more images, it samples only the new ones."""
    given = given_tables(settings, part)
    known = examine(file, dataset, sigma, normalisation, arch, anyway, given)
    table = {
        "n0": n0, "n": n, "alpha": alpha, "certificates": certificate or ["runner-up"], "skip": skip, "max_images": max_images, "shards": shards,
        "tile": int(tile) if tile.isdecimal() else tile,
    }  # fmt: skip
    sweep = _sweep(file, known, dataset, sigma, anyway, {"certification": table}, given, name)
    _submit(sweep, cluster, wait, as_json)


def attack(
    file: File,
    dataset: Dataset,
    sigma: Sigma = 0.0,
    which: Annotated[str, typer.Option("--attack", help="Attack: ddn, pgd, or one from a plugin.")] = "ddn",
    target: Annotated[
        str, typer.Option(help="Classifier to attack: base, or smoothed with the noise of --sigma.")
    ] = "base",
    norm: Annotated[str, typer.Option(help="l2 or linf.")] = "l2",
    max_images: Images = 100,
    shards: Annotated[int, typer.Option(min=1, help="Parallel tasks.")] = 1,
    normalisation: Normalisation = "",
    part: Part = "",
    arch: Arch = "",
    anyway: Anyway = False,
    settings: Settings = None,
    cluster: Cluster = "",
    name: Name = "",
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Search for adversarial images of a published checkpoint or of its smoothed classifier."""
    given = given_tables(settings, part)
    known = examine(file, dataset, sigma, normalisation, arch, anyway, given)
    table = {"attack": which, "target": target, "norm": norm}
    certification = {"certificates": [], "max_images": max_images, "shards": shards}
    sweep = _sweep(
        file, known, dataset, sigma, anyway, {"certification": certification, "attack": table}, given,
        name, f"-{which}-{target}",
    )  # fmt: skip
    _submit(sweep, cluster, wait, as_json)


def predict(
    file: File,
    dataset: Dataset,
    sigma: Sigma,
    images: Annotated[str, typer.Option(help="Positions in the test split, such as 0,5,17.")],
    n: Annotated[int, typer.Option(min=1, help="Noise samples per image.")] = 1000,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Failure probability.")] = 0.001,
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.")] = "fp32",
    tile: Annotated[int, typer.Option(help="Images per forward pass, as in [certification].")] = 400,
    compile_mode: Annotated[
        str, typer.Option("--compile", help="off, default or graphs, as in [certification].")
    ] = "off",
    arithmetic: Annotated[str, typer.Option(help="float or exact, as in [certification].")] = "float",
    normalisation: Normalisation = "",
    part: Part = "",
    arch: Arch = "",
    anyway: Anyway = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Print the smoothed classifier's prediction, or its abstention, for some test images (PREDICT of Cohen et al.)."""
    from rsctl.config.sections import Arithmetic, Compile, Precision_

    try:
        positions = [int(part) for part in images.split(",")]
    except ValueError as error:
        raise InputError(f"--images: '{images}' is not a list of positions such as 0,5,17.") from error
    for option, value, allowed in (
        ("--precision", precision, Precision_),
        ("--compile", compile_mode, Compile),
        ("--arithmetic", arithmetic, Arithmetic),
    ):
        if value not in get_args(allowed):
            raise InputError(f"{option}: {unknown('value', value, get_args(allowed))}")
    more = [
        "--images", json.dumps(positions), "--n", str(n), "--alpha", str(alpha),
        "--precision", precision, "--tile", str(tile), "--compile", compile_mode,
        "--arithmetic", arithmetic,
    ]  # fmt: skip
    given = given_tables(settings, part)
    found = examine(file, dataset, sigma, normalisation, arch, anyway, given, "jobs.certify.predict", more)
    tell(found["notes"])
    if as_json:
        print(json.dumps(found))
        return
    print("image   label   predicted          votes")
    for row in found["rows"]:
        print(f"{row['index']:5}   {row['label']:5}   {plain(row['name'], 60):16}   {row['votes']}/{n}")


def examine(
    file: Path,
    dataset: str,
    sigma: float,
    normalisation: str,
    arch: str,
    anyway: bool,
    given: Mapping[str, Any],
    module: str = "jobs.examine_checkpoint",
    more: Iterable[str] = (),
) -> dict[str, Any]:
    """Inspect the file and describe it on stderr; raises the error that the inspection ended with."""
    from rsctl.catalog import model_table, plugins
    from rsctl.catalog.checkpoints import normalisation as checked
    from rsctl.catalog.models.hf import configured
    from rsctl.config.settings import load_settings
    from rsctl.modules import module_command

    place = load_settings()
    if normalisation:
        try:
            checked(normalisation)
        except InputError as error:
            raise InputError(f"--normalisation: {error}") from error
    data, architecture, method = ({**given.get(table, {})} for table in ("dataset", "model", "method"))
    if library := named_weights(str(file)):
        file, arch = library, arch or str(file)
    elif not arch and "name" not in architecture and (file / "config.json").is_file():
        arch = f"hf:{file}"
    architecture = model_table({"name": arch, **architecture})
    dataset, arch = data.pop("name", dataset), architecture.pop("name")
    if arch == "hf":
        architecture = configured(architecture)
    # torch is loaded in a separate process.
    command = module_command(
        module, str(file), "--dataset", dataset, "--data", str(place.data), "--sigma", str(sigma),
        "--normalisation", normalisation, "--part", str(method.get("part", "")), "--arch", arch, "--plugins", json.dumps(list(plugins())),
        "--parameters", json.dumps(data), "--model-parameters", json.dumps(architecture), *more,
    )  # fmt: skip
    done = subprocess.run(command + ["--anyway"] * anyway, capture_output=True, text=True)
    if done.returncode:
        text = done.stderr.strip() or "inspecting the file exited with no error message"
        if done.returncode == InputError.exit_code and "Traceback" not in text:
            raise RefusedError(text)
        raise UnavailableError(text.splitlines()[-1])
    found: dict[str, Any] = {"file": str(file), **json.loads(done.stdout)}
    accuracy = dict(found["accuracy"])
    chosen = accuracy.pop(found["normalisation"])
    # A network's whole configuration is no line of text.
    parameters = "".join(
        f" {key} {value}" for key, value in found["model_parameters"].items() if len(str(value)) <= 80
    )
    others = ", ".join(f"'{key}' {one['clean']:.1%}" for key, one in accuracy.items())
    says = "".join(f"; the file states {key} = {value:.2%}" for key, value in found["says"].items())
    print(
        f"{file}: {found['layout']}: {found['model']}{parameters}\n"
        + "".join(f"assumed: {one}\n" for one in found["assumes"])
        + f"normalisation '{found['normalisation']}': {found['why']}\n"
        f"{chosen['clean']:.1%} of {found['images']} clean test images are classified correctly"
        + (f", {chosen['noisy']:.1%} with one noise each" if sigma else "")
        + (f" (with {others})" if others else "")
        + says
        + "".join(f"\n{one}" for one in found["told"]),
        file=sys.stderr,
    )
    return found


def _sweep(
    file: Path,
    known: dict[str, Any],
    dataset: str,
    sigma: float,
    anyway: bool,
    tables: dict[str, Any],
    given: Mapping[str, Any],
    name: str,
    suffix: str = "",
) -> dict[str, Any]:
    """Return the sweep file equivalent to the command."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", file.name.partition(".")[0]).strip("-") or "checkpoint"
    values: dict[str, Any] = {
        "name": name or f"{stem[:20]}-{dataset}-s{sigma:g}-{known['sha256'][:8]}{suffix}",
        "dataset": {"name": dataset},
        "model": {"name": known["model"], **known["model_parameters"]},
        "method": {
            "name": "checkpoint", "file": os.path.abspath(known["file"]), "sha256": known["sha256"],
            "normalisation": known["normalisation"], **({"anyway": True} if anyway else {}),
        },
        "sigma": sigma,
        **tables,
    }  # fmt: skip
    return merged(values, given)


def _submit(values: dict[str, Any], cluster: str, wait: bool, as_json: bool) -> None:
    from rsctl.config.names import check_name
    from rsctl.config.toml_text import to_toml

    try:
        # It becomes a file name before the sweep file is validated.
        name = check_name(str(values["name"]))
    except ValueError as error:
        raise InputError(f"--name: '{values['name']}': {error}.") from error
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / f"{name}.toml"
        sweep.write_text(to_toml(values))
        try:
            code = submit_sweep(sweep, cluster, update=True, wait=wait, as_json=as_json)
        except InputError as error:
            raise InputError(str(error).removeprefix(f"{sweep}: ")) from error
    leave(code)
