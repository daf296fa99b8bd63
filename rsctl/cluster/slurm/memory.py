"""Memory as SLURM hands it out: what a job gets that asks for none, and what it may ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Memory:
    """Memory that jobs get and may ask for, in GB; infinite where nothing is set."""

    default_per_node: float
    default_per_cpu: float
    most_per_node: float
    most_per_cpu: float

    @classmethod
    def of(cls, values: dict[str, str]) -> Memory:
        """From `DefMemPerNode=…` and its like, of which SLURM shows only those that are set; in MB."""
        names = ("DefMemPerNode", "DefMemPerCPU", "MaxMemPerNode", "MaxMemPerCPU")
        texts = [values.get(name, "") for name in names]
        return cls(*(int(text) / 1024 if text.isdigit() and int(text) else math.inf for text in texts))

    def over(self, other: Memory) -> Memory:
        """These of a partition, where it sets any, before those of the cluster."""
        defaults = (self.default_per_node, self.default_per_cpu)
        most = (self.most_per_node, self.most_per_cpu)
        return Memory(
            *(defaults if min(defaults) < math.inf else (other.default_per_node, other.default_per_cpu)),
            *(most if min(most) < math.inf else (other.most_per_node, other.most_per_cpu)),
        )

    def default(self, cpus: int) -> float:
        return min(self.default_per_node, self.default_per_cpu * cpus)

    def most(self, cpus: int) -> float:
        return min(self.most_per_node, self.most_per_cpu * cpus)
