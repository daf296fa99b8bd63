"""Specs of a model's tables (counts, verifications, attacks), with every default filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rsctl.catalog import find, known_attacks, known_extras, known_verifiers
from rsctl.catalog.declare import Attack as AttackDeclaration
from rsctl.catalog.declare import DataShape, Parameters, Verifier
from rsctl.catalog.pixels import splitting_width
from rsctl.config.identity import identity
from rsctl.config.point import Point
from rsctl.config.runs import AttackSpec, CountSpec, LevelBefore, TableSpec, TrainSpec, VerifySpec
from rsctl.config.sections import AttackTable, ImageTable, Verification
from rsctl.config.validate import Problem, check, module_exists
from rsctl.errors import InputError, unknown

Section = TypeVar("Section", bound=ImageTable)


@dataclass(frozen=True)
class PointTable:
    """One table of a point: a row of the sweep's results."""

    spec: TableSpec
    shards: int
    max_images: int
    radii: list[float]
    """Radii of the printed columns."""
    launch: dict[str, Any] = field(default_factory=dict)
    """Further launch settings of its tasks; none of them is identity."""


def resolve_tables(
    point: Point, train: TrainSpec, shape: DataShape, problems: list[Problem]
) -> list[PointTable] | None:
    """The tables of a point, the counts first; on failure add the problems and return None."""
    before = len(problems)
    sampled = point.noise_level and point.certification.certificates
    extras = _extras(point, problems)
    tables = [_counts(point, train, shape, extras)] if sampled else []
    for what, key, sections, kind, known, resolve in (
        ("verification", "verifier", point.verification, Verification, known_verifiers(), _verification),
        ("attack", "attack", point.attack, AttackTable, known_attacks(), _attack),
    ):
        found: list[PointTable | None] = []
        for number, values in enumerate(sections):
            where = f"{what}.{number}"
            read = _read(kind, key, values, known, where, problems)
            one = resolve(point, train, shape, *read, where, problems) if read else None
            if one and one in found:
                text = f"equals the {_ordinal(found.index(one))} [[{what}]]: remove or change one of them."
                problems.append(Problem(f"{where}.{key}", text))
            found.append(one)
            tables += [one] if one else []
    return tables if len(problems) == before else None


def _ordinal(place: int) -> str:
    return ("first", "second", "third")[place] if place < 3 else f"{place + 1}th"


def _about(point: Point, train: TrainSpec, shape: DataShape) -> dict[str, Any]:
    """Fields on the model and the images, common to every table of this point."""
    both = train.data == shape.fingerprint  # as older versions planned it
    return {
        "model_hash": train.hash,
        "model_run": train.run_id,
        "dataset": train.dataset,
        "dataset_parameters": train.dataset_parameters,
        "data": train.data if both or point.certification.split == "val" else shape.files("test"),
        "split": point.certification.split,
        "holdout": train.holdout,
        "seed": point.certification.seed,
        "precision": point.precision.certification,
    }


def _drawn(point: Point, train: TrainSpec, shape: DataShape) -> dict[str, Any]:
    """The same for a table that depends on draws; those of the test split keep the keys of older versions."""
    return {
        **_about(point, train, shape),
        "keys": "shared" if point.certification.split == "test" else "split",
    }


def _counts(
    point: Point, train: TrainSpec, shape: DataShape, extras: dict[str, dict[str, Any]]
) -> PointTable:
    settings = point.certification
    everything = point.noise == "splitting"
    spec = CountSpec(
        **(_about if everything else _drawn)(point, train, shape),
        sigma=point.noise_level,
        noise="generalised-gaussian" if point.exponent else point.noise,
        exponent=point.exponent,
        shell_edges=shell_edges(settings.shells, point.noise_level, shape.dimension, point.exponent),
        selection=settings.selection,
        n0=0 if everything else settings.n0 if settings.selection == "noise" else 1,
        n=splitting_width(point.noise_level) if everything else settings.n,
        stopping=settings.stopping,
        stop_radii=list(settings.stop_radii or settings.radii)
        if settings.stopping == "certify-at-radii"
        else [],
        stop_delta=settings.stop_delta if settings.stopping == "radius-within" else 0.0,
        stop_alpha=settings.alpha if settings.stopping != "fixed" else 0.0,
        gradient=settings.gradient,
        transfer=settings.transfer,
        extras=extras,
        tile=settings.tile,
        block=settings.block,
        compile=settings.compile,
        arithmetic=settings.arithmetic,
    )
    launch = {"certificates": list(settings.certificates), "alpha": settings.alpha}
    return PointTable(spec, settings.shards, settings.max_images, list(settings.radii), launch)


def _extras(point: Point, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    """The measurements of plugins, each with its revision and all its parameters."""
    found: dict[str, dict[str, Any]] = {}
    for name, values in point.certification.extras.items():
        try:
            extra = find("measurement", name, known_extras())
        except InputError as error:
            problems.append(Problem(f"certification.extras.{name}", str(error)))
            continue
        if not module_exists(extra.implementation):
            text = f"'{name}' declares its recorder in '{extra.implementation}', which doesn't exist."
            problems.append(Problem(f"certification.extras.{name}", text))
        parameters = check(extra.parameters, values, f"certification.extras.{name}", problems)
        if parameters is not None:
            found[name] = {"revision": extra.revision, "parameters": identity(parameters)}
    return found


def _verification(
    point: Point, train: TrainSpec, shape: DataShape, section: Any, verifier: Verifier, parameters: Parameters, *_: Any
) -> PointTable:  # fmt: skip
    spec = VerifySpec(
        **_about(point, train, shape),
        verifier=verifier.name,
        revision=verifier.revision,
        parameters=identity(parameters),
        norm=section.norm,
        radii=sorted(section.radii),
    )
    return _table(point, spec, section, parameters, section.radii or point.certification.radii)


def _attack(
    point: Point, train: TrainSpec, shape: DataShape, section: Any, attack: AttackDeclaration, parameters: Parameters, key: str,
    problems: list[Problem],
) -> PointTable | None:  # fmt: skip
    if section.target == "cascade":
        if parameters.model_dump().get("topk", 1) != 1:
            problems.append(Problem(f"{key}.topk", "a cascade returns one class: topk must be 1."))
        return None  # one for each cascade: `cascade_attacks`
    smoothed = section.target == "smoothed"
    if smoothed and (not point.noise_level or point.exponent or point.noise != "gaussian"):
        text = "'smoothed' needs Gaussian noise: give sigma or certification.sigma."
        problems.append(Problem(f"{key}.target", text))
        return None
    spec = AttackSpec(
        **_drawn(point, train, shape),
        attack=attack.name,
        revision=attack.revision,
        parameters=identity(parameters),
        norm=section.norm,
        target=section.target,
        sigma=point.noise_level if smoothed else 0.0,
        noises=section.noises if smoothed else 0,
        n=section.n if smoothed else 0,
        alpha=section.alpha if smoothed else 0.0,
    )
    return _table(point, spec, section, parameters, point.certification.radii)


def cascade_attacks(
    point: Point, train: TrainSpec, shape: DataShape, before: Sequence[LevelBefore]
) -> list[PointTable]:
    """Attacks on the cascade that ends with this point: those of its [[attack]] tables with target = "cascade"."""
    tables = []
    for number, values in enumerate(point.attack):
        read = _read(AttackTable, "attack", values, known_attacks(), f"attack.{number}", [])
        if read and read[0].target == "cascade":
            section, attack, parameters = read
            spec = AttackSpec(
                **_drawn(point, train, shape), attack=attack.name, revision=attack.revision, parameters=identity(parameters),
                norm=section.norm, target="cascade", before=list(before), sigma=point.noise_level, noises=section.noises,
                n=section.n, alpha=section.alpha,
            )  # fmt: skip
            tables.append(_table(point, spec, section, parameters, point.certification.radii))
    return tables


def attacks_cascades(point: Point) -> bool:
    """True where an [[attack]] table of this point is about cascades."""
    return any(values.get("target") == "cascade" for values in point.attack)


def _table(
    point: Point, spec: TableSpec, section: ImageTable, parameters: Parameters, radii: list[float]
) -> PointTable:
    settings = point.certification
    most = settings.max_images if section.max_images is None else section.max_images
    launch = {"keep_images": section.keep_images, "parameters": parameters.model_dump()}
    return PointTable(spec, section.shards or settings.shards, most, list(radii), launch)


def _read(
    section: type[Section], what: str, values: dict[str, Any], among: dict[str, Any], key: str, problems: list[Problem]
) -> tuple[Section, Any, Parameters] | None:  # fmt: skip
    """The section, the declaration that it names, and that declaration's own parameters."""
    fields = section.model_fields
    known = check(section, {name: value for name, value in values.items() if name in fields}, key, problems)
    if known is None:
        return None
    try:
        declaration: Verifier | AttackDeclaration = find(what, getattr(known, what), among)
    except InputError as error:
        problems.append(Problem(f"{key}.{what}", str(error)))
        return None
    if known.norm not in declaration.norms:
        others = ", ".join(sorted(name for name, other in among.items() if known.norm in other.norms))
        text = f"{declaration.name} supports {', '.join(declaration.norms)}, not '{known.norm}'"
        problems.append(
            Problem(f"{key}.norm", text + (f", which these support: {others}." if others else "."))
        )
        return None
    own = {name: value for name, value in values.items() if name not in fields}
    allowed = [*fields, *declaration.parameters.model_fields]
    unheard = [name for name in own if name not in allowed]
    problems += [Problem(f"{key}.{name}", unknown("key", name, allowed)) for name in unheard]
    if unheard:
        return None
    parameters = check(declaration.parameters, own, key, problems)
    return None if parameters is None else (known, declaration, parameters)


def shell_edges(shares: list[float], sigma: float, dimension: int, exponent: int) -> list[float]:
    """Noise norms below which these shares of all noise lie: ‖ε‖²/2s² ~ Gamma(d/2 − k), s² = σ² d/(d − 2k)."""
    if not shares:
        return []
    from scipy.special import gammaincinv

    scale = sigma * (dimension / (dimension - 2 * exponent)) ** 0.5
    return [float(scale * (2 * gammaincinv(dimension / 2 - exponent, share)) ** 0.5) for share in shares]
