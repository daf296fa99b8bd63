"""Metadata in a log's path: noise levels, seed, split, data set, model, and the rest of it as the method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsctl.catalog import known_datasets, known_models
from rsctl.plain import printable
from rsctl.report.radius_logs.layouts import NAMES

_VALUE = r"(?:0[p_]\d+|\d+(?:\.\d+)?|\.\d+)"
_CALLED = rf"(?<![A-Za-z])(sigma|noise|σ)(?:[_-]?(?:sd|std|level))?[ _=-]?({_VALUE})"
_NOISE = re.compile(rf"{_CALLED}(?=([^/]*))", re.IGNORECASE)
_NOISE_AND_SEED = re.compile(rf"{_CALLED}(?:_\d+(?=_(?!\d)|$))?", re.IGNORECASE)
_TRAINED = re.compile(r"(?<![A-Za-z])train(?:ed|ing)?[_-]?$", re.IGNORECASE)
"""Prefixes of a noise level: `train_sigma_0.5_test_sigma_0.25`."""
_LOOSE = re.compile(r"(?<![A-Za-z0-9.])(?:n|s|sd|std|stddev)[_=-]?(0\d+|\d*\.\d+)(?![\d.])", re.IGNORECASE)
_BARE = re.compile(r"(?:^|(?<=/))(\d*\.\d+)(?=/|$)")
"""A folder or file that is called by a number alone: `eta_0.5` is no noise level."""
_SEED = re.compile(r"(?<![A-Za-z])seed[_=-]?(\d+)", re.IGNORECASE)
_BEHIND = re.compile(r"_(\d+)(?=_(?!\d)|$)")
"""One number is a seed; several, as in `noise_0.05_100_1000`, say how many draws were made, or anything."""
_SPLITS, _OTHERWISE, _HABITS = NAMES["splits"], NAMES["otherwise"], NAMES["habits"]
_CORRUPTED = NAMES["corrupted"]
_SETS = (*_CORRUPTED, *NAMES["sets"])
_NETWORK = r"(?:wide|pre-?act|se)[_-]?resnet[_-]?\d+(?:[_-]\d+)?|(?:wrn|densenet)[_-]?\d+(?:[_-]\d+)?|(?:resnet|vgg)[_-]?\d+"
"""Networks that the catalogue lacks, too."""
_OWN = re.compile(r"-s([\d.]+(?:e-?\d+)?)-[0-9a-f]{8}(-[0-9a-f]{8})?-([a-z0-9-]+)(?=-sigma_)")
"""Parts of the name of a log that rsctl exported: σ of the training, hashes, certificate."""
_OTHER = re.compile(
    r"(?<![A-Za-z])(rotations?|translations?|scaling|resize|brightness|contrast|blur|uniform(?:noise)?|laplac(?:e|ian)(?:noise)?|exponential)(?![A-Za-z])",
    re.IGNORECASE,
)
"""Noise that isn't Gaussian, and noise that isn't added to pixels: radii under it are other quantities."""
_NOTHING = re.compile(r"\d*\.\d+|copy(?: ?\(\d+\))?|\(\d+\)|", re.IGNORECASE)
"""Names that don't describe a method: a number, or the name of a copy."""
_UPWARDS = 6
"""Most folders above the given one that are searched for metadata."""


@dataclass(frozen=True)
class Level:
    """A noise level that a path names."""

    called: str
    """The text in the path."""
    kind: str
    """`sigma`, `noise`, or empty for a number that isn't called so."""
    value: float
    plain: bool
    """Written as a decimal fraction, so that it can't be meant otherwise."""
    odd: str = ""
    """Reason to doubt it, however well it fits."""
    seed: int | None = None
    """The number behind it, as in `noise_0.25_3870`."""


@dataclass(frozen=True)
class PathFacts:
    """Facts about a log that its path states; empty or None where it doesn't."""

    levels: list[Level]
    method: str
    dataset: str
    model: str
    split: str
    seed: int | None
    certificate: str
    other_noise: str
    """A word that names noise other than Gaussian noise of the pixels."""


def read_path(file: Path, below: Path, given: Path) -> PathFacts:
    """The metadata in the path of a log; `below` is the part that distinguishes it from other logs of the same import."""
    text = file.as_posix()
    stem = _stem(text)
    own = _OWN.search(file.name)
    levels = _levels(stem)
    if own and own[2]:
        levels.insert(0, Level(own[0], "noise", float(own[1]), True))
    seeds = [*map(int, _SEED.findall(text)), *(one.seed for one in levels if one.seed is not None)]
    sets = _spelled([*known_datasets(), *_SETS, *_OTHERWISE])
    dataset = _last(text, sets, {**{name: name for name in (*known_datasets(), *_SETS)}, **_OTHERWISE})
    networks = _spelled(known_models(), _NETWORK)
    model = _last(stem, networks, {name: name for name in known_models()})
    called = [name for name in (dataset, *_OTHERWISE) if _OTHERWISE.get(name, name) == dataset]
    known = [_spelled(names) for names, given in ((called, dataset), ([model], model)) if given]
    method = _method(below, known) or _above(given, known) or "log"
    split = _split(_stem((Path(given.name) / below).as_posix()))
    other = None if dataset in _CORRUPTED else _OTHER.search(method)
    return PathFacts(
        levels, method, dataset, model, split, seeds[-1] if seeds else None, own[3] if own else "", other[0] if other else ""
    )  # fmt: skip


def _levels(stem: str) -> list[Level]:
    """Every noise level of a path in order; numbers that aren't called so only where no other is."""
    found = []
    for match in _NOISE.finditer(stem):
        trained = _TRAINED.search(stem, 0, match.start()) is not None
        kind = "noise" if trained or match[1].lower() == "noise" else "sigma"
        found.append(_level(match[0], kind, match[2], match[3]))
    if not found:
        loose = [(match[0], match[1]) for match in _LOOSE.finditer(stem)]
        bare = [(match[0], match[1]) for match in _BARE.finditer(stem)]
        found = [_level(called, "", value, "") for called, value in loose or bare]
    return found


def _level(called: str, kind: str, text: str, behind: str) -> Level:
    fraction = text.replace("p", ".").replace("_", ".") if text.startswith("0") else text
    if re.fullmatch(r"0\d+", fraction):
        fraction = f"0.{fraction[1:]}"
    seed = _BEHIND.match(behind)
    odd = ""
    if "." not in text and behind and not re.match(r"[_-]|\.(tsv|txt|csv|log)$", behind):
        odd = f"'{called}{behind}' goes on behind its number"
    return Level(
        called, kind, float(fraction), "." in text and bool(kind), odd, int(seed[1]) if seed else None
    )


def _stem(text: str) -> str:
    # `sigma_0.25` has no ending to take off.
    return next((text[: -len(ending)] for ending in NAMES["endings"] if text.endswith(ending)), text)


def _split(stem: str) -> str:
    """The last folder called as a split, or the last word of the file's name."""
    *folders, name = stem.split("/")
    last = re.split(r"[-_.\s]", name)[-1]
    found = [_SPLITS[part.lower()] for part in [*folders, last] if part.lower() in _SPLITS]
    return found[-1] if found else ""


def _spelled(names: Iterable[str], further: str = "") -> re.Pattern[str]:
    """Any of these names as a word of its own, the longer one first: `CIFAR-10` and `cifar_10` are cifar10."""
    parts = [
        re.sub(r"(?<=[a-z])(?=\d)|\\?[-_]", "[-_]?", re.escape(name))
        for name in sorted(names, key=len, reverse=True)
    ]
    either = "|".join([further, *parts] if further else parts)
    return re.compile(rf"(?<![A-Za-z0-9])(?:cifar[_-])?({either})(?![A-Za-z0-9]|\.\d)", re.IGNORECASE)


def _last(text: str, names: re.Pattern[str], called: Mapping[str, str]) -> str:
    """The last of these names in a path, as the catalogue calls it; empty without any."""
    found = [match[1].lower() for match in names.finditer(text)]
    if not found:
        return ""
    bare = {re.sub(r"[-_]", "", name): mine for name, mine in called.items()}
    return bare.get(re.sub(r"[-_]", "", found[-1]), found[-1])


def _method(below: Path, known: Sequence[re.Pattern[str]]) -> str:
    """The rest of the path without noise levels, seed, split, data set, model and the authors' folders; may be empty."""
    parts = []
    for part in _stem(below.as_posix()).split("/"):
        left = _left(part, known)
        if left and left.lower() not in (*_HABITS, *_SPLITS):
            parts.append(left)
    return printable("/".join(parts))


def _left(part: str, known: Sequence[re.Pattern[str]]) -> str:
    left = _SEED.sub("", _NOISE_AND_SEED.sub("", _OWN.sub("", part)))
    if left == part:
        left = _LOOSE.sub("", part)
    for name in known:
        left = name.sub("", left)
    left = re.sub(r"[-_]{2,}", "-", left).strip("-_., ")
    words = re.split(r"([-_.\s])", left)
    if len(words) > 1 and words[-1].lower() in _SPLITS:
        left = "".join(words[:-2])
    return "" if _NOTHING.fullmatch(left) else left


def _above(given: Path, known: Sequence[re.Pattern[str]]) -> str:
    """The name of the given folder, or of the first above it, that isn't called by a noise level, a model or the like."""
    for folder in [given, *given.parents][:_UPWARDS]:
        if folder.name.lower() in _HABITS:
            return ""
        name = _method(Path(folder.name), known)
        if name:
            return name
    return ""
