"""Run ids of every template, method, data set and model, and hashes of every field of a spec, computed by the code at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chain import tiny

from rsctl.catalog import known_attacks, known_datasets, known_methods, known_models, known_verifiers
from rsctl.catalog.library import LibraryParameters
from rsctl.config.runs import parse_spec
from rsctl.config.sweep import build_sweep, load_sweep
from rsctl.config.templates import all_templates
from rsctl.plan.plan import make_plan

_TABLE: dict[str, Any] = {
    "model_hash": "0" * 64,
    "model_run": "gaussian-digits-s0.5-00000000",
    "dataset": "digits",
    "dataset_parameters": {},
    "split": "test",
    "seed": 0,
    "precision": "fp32",
}
_TABLE_CHANGES: dict[str, Any] = {
    "model_hash": "1" * 64,
    "model_run": "gaussian-digits-s0.25-11111111",
    "dataset": "mnist",
    "dataset_parameters": {"size": 16},
    "data": "files",
    "split": "val",
    "holdout": 0.1,
    "seed": 1,
    "precision": "bf16",
}
_ORIGIN = {"hash": "2" * 64, "run": "gaussian-digits-s0.5-22222222"}
SPECS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "train": (
        {
            "method": "gaussian", "revision": 1, "hyperparameters": {}, "recipe": {}, "dataset": "digits",
            "dataset_parameters": {}, "model": "cnn", "model_parameters": {"width": 4}, "sigma": 0.5, "seed": 0,
            "precision": "fp32",
        },
        {
            "method": "macer", "revision": 2, "hyperparameters": {"k": 4}, "recipe": {"epochs": 2}, "dataset": "mnist",
            "dataset_parameters": {"size": 16}, "data": "files", "holdout": 0.1, "model": "mlp",
            "model_parameters": {"width": 5}, "sigma": 0.25, "seed": 1, "precision": "tf32", "start": _ORIGIN,
            "teacher": _ORIGIN, "exponent": 4, "noise": "laplace", "file": "best.pt", "predictions": "a-run",
        },
    ),
    "count": (
        {**_TABLE, "sigma": 0.5, "n0": 100, "n": 1000, "tile": 400, "block": 100},
        {
            **_TABLE_CHANGES, "keys": "split", "sigma": 0.25, "noise": "uniform", "exponent": 4, "shell_edges": [1.5],
            "selection": "clean", "n0": 10, "n": 2000, "stopping": "radius-within", "stop_radii": [0.5],
            "stop_delta": 0.02, "stop_alpha": 0.01, "transfer": 100, "gradient": True, "tile": "auto", "block": 50,
            "compile": "default", "arithmetic": "exact",
        },
    ),
    "verify": (
        {**_TABLE, "verifier": "ibp", "revision": 1, "parameters": {}, "norm": "linf", "radii": [0.1]},
        {
            **_TABLE_CHANGES, "verifier": "crown", "revision": 2, "parameters": {"steps": 3}, "norm": "l2", "radii": [],
        },
    ),
    "attack": (
        {**_TABLE, "attack": "pgd", "revision": 1, "parameters": {}, "norm": "l2", "target": "base"},
        {
            **_TABLE_CHANGES, "keys": "split", "attack": "ddn", "revision": 2, "parameters": {"steps": 3}, "norm": "l1",
            "target": "smoothed", "sigma": 0.25, "noises": 4, "n": 100, "alpha": 0.01,
        },
    ),
}  # fmt: skip
"""Per kind of run: a spec, and another value of each of its fields."""


def of_fields() -> dict[str, dict[str, list[str]]]:
    """Run id and hash of each kind's spec, with every field changed in turn."""
    found: dict[str, dict[str, list[str]]] = {}
    for kind, (values, changes) in SPECS.items():
        specs = {
            field: parse_spec({"kind": kind, **values, **change})
            for field, change in {
                "": {},
                **{field: {field: value} for field, value in changes.items()},
            }.items()
        }
        found[kind] = {field: [spec.run_id, spec.hash] for field, spec in specs.items()}
    return found


def _sweeps() -> dict[str, dict[str, Any]]:
    """Sweeps that name each entry of the catalog, and each setting of certification that changes what is computed."""
    quiet = {"sigma": 0.0, "certification": {"certificates": []}}
    sweeps = {
        **{f"method {name}": {"method": name} for name in known_methods()},
        **{
            f"model {name}": {"model": name, "dataset": "cifar10"}
            for name, one in known_models().items()
            if not issubclass(one.parameters, LibraryParameters)  # which need more than their name
        },
        **{
            f"data set {name}": {"dataset": name, "model": "cnn"}
            for name, one in known_datasets().items()
            if one.inspect is None
        },
        **{
            f"verifier {name} {norm}": {**quiet, "verification": [{"verifier": name, "norm": norm}]}
            for name, one in known_verifiers().items()
            for norm in one.norms
        },
        **{
            f"attack {name} {norm} {target}": {"attack": [{"attack": name, "norm": norm, "target": target}]}
            for name, one in known_attacks().items()
            for norm in one.norms
            for target in ("base", "smoothed")
        },
    }  # fmt: skip
    for name, change in {
        "uniform": {"noise": "uniform", "certification": {"certificates": ["uniform-l1"]}},
        "laplace": {"noise": "laplace", "certification": {"certificates": ["laplace-l1"]}},
        "splitting": {"noise": "splitting", "certification": {"certificates": ["splitting-l1"]}},
        "exponent": {"exponent": 4, "certification": {"certificates": ["dsrs"], "shells": [0.5]}},
        "shells": {"certification": {"shells": [0.5, 0.9]}},
        "gradient": {"certification": {"gradient": True}},
        "transfer": {"certification": {"transfer": 100}, "precision": {"certification": "bf16"}},
        "at radii": {"certification": {"stopping": "certify-at-radii", "stop_radii": [0.5], "certificates": ["sequential"]}},
        "within": {"certification": {"stopping": "radius-within", "certificates": ["sequential"]}},
        "clean": {"certification": {"selection": "clean", "certificates": ["single-pass"]}},
        "exact": {"certification": {"arithmetic": "exact"}},
        "val": {"certification": {"split": "val"}},
        "tile auto": {"certification": {"tile": "auto"}},
        "compile": {"certification": {"compile": "default"}},
        "sigma of the certificate": {"certification": {"sigma": 0.25}},
        "seeds": {"grid": {"seed": [0, 1]}},
    }.items():  # fmt: skip
        sweeps[f"certification {name}"] = change
    return sweeps


def folders(root: Path) -> None:
    """60 class folders with a file per split where templates expect folders: only listed, never decoded."""
    for name in ("imagenet", "cifar10"):
        for split in ("train", "test"):
            for number in range(60):
                folder = root / name / split / f"n{number:08d}"
                folder.mkdir(parents=True)
                (folder / f"{split}{number}.png").write_bytes(f"{split}{number}".encode())


def of_sweeps(data: Path) -> dict[str, list[str]]:
    """Runs that each small sweep and each template plans."""
    found: dict[str, list[str]] = {}
    for name, changes in _sweeps().items():
        plan = make_plan(build_sweep(tiny(**changes), "sweep.toml", data), "sweep.toml")
        found[name] = [*plan.models, *plan.tables]
    for template in all_templates():
        file = data / "template.toml"
        file.write_text(template.text)
        plan = make_plan(load_sweep(file, data), str(file))
        found[f"template {template.name}"] = [*plan.models, *plan.tables]
    return found
