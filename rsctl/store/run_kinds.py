"""The four kinds of runs: the folder of the store that holds them, and everything that depends on the kind alone."""

from __future__ import annotations

from enum import Enum

from rsctl.config.runs import AttackSpec, CountSpec, TrainSpec, VerifySpec


class RunKind(str, Enum):
    """A kind of runs. As text it is the name of their folder, which keys and records of the store contain."""

    stage: str
    """Name of its tasks' stage under `resources`."""
    verb: str
    module: str
    """Module of the data plane whose `main(work)` runs its tasks."""
    data_file: str
    """First part of the names of its data files; empty for models."""

    MODELS = TrainSpec.folder, "training", "train", "jobs.training.train", ""
    COUNTS = CountSpec.folder, "certification", "certify", "jobs.certify.count", "counts"
    VERIFICATIONS = VerifySpec.folder, "verification", "verify", "jobs.per_image.verify", "findings"
    ATTACKS = AttackSpec.folder, "attack", "attack", "jobs.per_image.attack", "findings"

    def __new__(cls, folder: str, *values: object) -> RunKind:
        kind = str.__new__(cls, folder)
        kind._value_ = folder
        for name, value in zip(("stage", "verb", "module", "data_file"), values, strict=True):
            setattr(kind, name, value)
        return kind

    def __str__(self) -> str:
        return str.__str__(self)

    def __format__(self, specification: str) -> str:
        return str.__format__(self, specification)

    @property
    def is_table(self) -> bool:
        """True if its runs have a row per image, shared out to many tasks; a model has one task, of one or several processes."""
        return bool(self.data_file)


TABLES = tuple(kind for kind in RunKind if kind.is_table)
