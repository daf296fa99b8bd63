"""A whole sweep file for every entry: the smallest one that uses it. A test resolves each."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic.fields import FieldInfo

from rsctl.catalog import known_datasets
from rsctl.catalog.declare import Method, Model

BASE: dict[str, Any] = {
    "name": "example",
    "dataset": "digits",
    "model": "cnn",
    "method": "gaussian",
    "sigma": 0.5,
}
SIGMA = 0.25
JOINT = "certificate of several runs"
"""Kind of a certificate that is derived from runs which exist: no key of a sweep file names it."""
FEW = {"certification.n": 1000}
"""Draws with which an example ends within a minute or so."""
FEW_IMAGES = 20
"""The same of a verifier or an attack."""
MOST = 3
"""Parameters that an example shows."""
BESIDE: dict[str, dict[str, Any]] = {
    "certification.arithmetic": {"certification.arithmetic": "exact"},
    "precision.certification": {"precision.certification": "bf16"},
    "precision.training": {"precision.training": "bf16"},
    "attack.target": {"attack.target": "smoothed"},
    "certification.split": {"certification.split": "val"},
    "certification.tile": {"certification.tile": "auto"},
    "noise": {"noise": "uniform", "certification.certificates": ["uniform-l1"]},
    "certification.gradient": {"certification.gradient": True, "certification.n": 10_000, "certification.certificates": ["second-order"]},
    "certification.selection": {"certification.selection": "clean", "certification.certificates": ["single-pass"]},
    "certification.stopping": {
        "certification.stopping": "certify-at-radii",
        "certification.stop_radii": [0.5],
        "certification.certificates": ["sequential"],
    },
    "certification.stop_radii": {"certification.stopping": "certify-at-radii", "certification.certificates": ["sequential"]},
    "certification.stop_delta": {"certification.stopping": "radius-within", "certification.certificates": ["sequential"]},
    "certification.shells": {"exponent": 10, "certification.certificates": ["dsrs"]},
    "certification.transfer": {"certification.transfer": 1000, "precision.certification": "bf16", "certification.certificates": ["transfer"]},
    "certification.val_share": {"certification.split": "val"},
    "certification.start": {"dataset": "mnist"},
    "certification.stop": {"dataset": "mnist", "certification.start": 500},
    "training.nesterov": {"training.nesterov": True},
    "training.augment": {"training.augment": False},
    "training.mirror": {"training.mirror": False},
    "training.hold_epochs": {"training.schedule": "cosine", "training.warmup_epochs": 0.0},
    "training.exponent_warmup": {"exponent": 10, "certification.certificates": ["neyman-pearson"]},
    "training.step_epochs": {"training.schedule": "step"},
    "training.step_factor": {"training.schedule": "step"},
    "training.step_shift": {"training.schedule": "step"},
    "training.milestones": {"training.schedule": "step"},
    "training.noise_steps": {"method": {"name": "smoothadv"}},
    "exponent": {"certification.certificates": ["neyman-pearson"]},
    "verification.keep_images": {"verification.keep_images": False},
    "attack.keep_images": {"attack.keep_images": False},
    "attack.noises": {"attack.target": "smoothed"},
    "attack.n": {"attack.target": "smoothed"},
    "attack.alpha": {"attack.target": "smoothed"},
    "training": {"training.epochs": 30},
    "certification": {"certification.n": 10_000, "certification.certificates": ["cohen"]},
    "verification": {"verification": [{"verifier": "crown", "radii": ["2/255"]}]},
    "attack": {"attack": [{"attack": "ddn"}]},
    "precision": {"precision.certification": "bf16"},
    "resources": {"resources.training.threads": 2},
    "grid": {"grid.sigma": [0.25, 0.5]},
    "method.model": {"method.model": {"name": "cnn", "width": 16}},
    "method.training": {"method.training": {"epochs": 30}},
    "method.grid": {"method.name": "smoothadv", "method.grid": {"epsilon": [0.25, 0.5]}},
    "method.start": {"method.start": {"name": "gaussian", "sigma": 0.0}},
    "method.teacher": {"method.name": "cat-rs", "method.teacher": {"name": "gaussian", "sigma": 0.25}},
}  # fmt: skip
"""Keys whose example isn't their default, and those that need others beside them."""


def example_of(kind: str, declared: Any) -> dict[str, Any]:
    """The sweep file for a declaration: its name, what it needs, and some of its parameters."""
    name, own = declared.name, dict(getattr(declared, "example", {}))
    if kind == "certificate":
        return _quick({"certification.certificates": [name], **own})
    if kind == JOINT:
        return _quick(own)
    if kind == "noise":
        return _quick(own if "exponent" in own else {"noise": name, **own})
    if kind in ("verifier", "attack"):
        table = {
            kind: name,
            "norm": declared.norms[0],
            "max_images": FEW_IMAGES,
            **_some(declared.parameters),
        }
        proved = {"model": "mlp", "sigma": 0.0} if kind == "verifier" else {}
        return _quick({**proved, **own, "verification" if kind == "verifier" else kind: [table]})
    if kind == "method":
        values = declared.default_values("digits", SIGMA) if isinstance(declared, Method) else {}
        given = {key: values[key] for key in declared.parameters.model_fields if key in values}
        chosen = dict(list(given.items())[:MOST])
        return _quick({"sigma": SIGMA, "method": {"name": name, **chosen}, **own})
    key = "model" if kind == "model" else "dataset"
    where = {} if kind != "model" else {"dataset": _fitting(declared)}
    return _quick({**where, key: {"name": name, **_some(declared.parameters)}, **own})


def example_of_key(name: str, info: FieldInfo | None) -> dict[str, Any]:
    """The sweep file that sets this key: to its declared example, else to its default."""
    table = name.partition(".")[0]
    needed: dict[str, dict[str, Any]] = {
        "verification": {"model": "mlp", "sigma": 0.0, f"{table}.verifier": "crown"},
        "attack": {f"{table}.attack": "ddn"},
    }
    value = {} if info is None else {name: info.examples[0] if info.examples else info.get_default()}
    found = _quick({**needed.get(table, {}), **value, **BESIDE.get(name, {})})
    if isinstance(found.get(table), dict) and table in ("verification", "attack"):
        found[table] = [found[table]]
    return found


def _quick(values: Mapping[str, Any]) -> dict[str, Any]:
    """The base with these dotted keys, and few draws where it samples."""
    sampled = values.get("sigma", BASE["sigma"]) and "certification" not in values
    return put(BASE, {**values, **{key: n for key, n in FEW.items() if sampled and key not in values}})


def put(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A raw table with these dotted keys set; a name in the place of a table becomes one."""
    result = deepcopy(dict(raw))
    for key, value in values.items():
        *tables, last = key.split(".")
        current = result
        for table in tables:
            found = current.get(table, {})
            current[table] = {"name": found} if isinstance(found, str) else found
            current = current[table]
        current[last] = value
    return result


def _some(parameters: Any) -> dict[str, Any]:
    """The first of the parameters that have a default, at that."""
    for name, info in parameters.model_fields.items():
        if not info.is_required() and info.get_default() not in (None, "", []):
            return {name: info.get_default()}
    return {}


def _fitting(model: Model) -> str:
    """The smallest data set whose images this architecture takes."""
    sets = known_datasets()
    return next(name for name in ("digits", "mnist", "imagenet") if (sets[name].size or 0) >= model.smallest)
