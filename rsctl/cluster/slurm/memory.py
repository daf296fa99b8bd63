"""Default and maximum memory of SLURM jobs."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PartitionMemory:
    """Default and maximum memory of jobs in GB; infinite where none is set."""

    default_per_node: float
    default_per_cpu: float
    most_per_node: float
    most_per_cpu: float

    @classmethod
    def of(cls, values: dict[str, str]) -> PartitionMemory:
        """Parse `DefMemPerNode=…` and similar settings in MB, of which SLURM shows only those that are set."""
        names = ("DefMemPerNode", "DefMemPerCPU", "MaxMemPerNode", "MaxMemPerCPU")
        texts = [values.get(name, "") for name in names]
        return cls(*(int(text) / 1024 if text.isdigit() and int(text) else math.inf for text in texts))

    def over(self, other: PartitionMemory) -> PartitionMemory:
        """Combine a partition's settings with the cluster's; the partition's take precedence."""
        defaults = (self.default_per_node, self.default_per_cpu)
        most = (self.most_per_node, self.most_per_cpu)
        return PartitionMemory(
            *(defaults if min(defaults) < math.inf else (other.default_per_node, other.default_per_cpu)),
            *(most if min(most) < math.inf else (other.most_per_node, other.most_per_cpu)),
        )

    def default(self, cpus: int) -> float:
        return min(self.default_per_node, self.default_per_cpu * cpus)

    def most(self, cpus: int) -> float:
        return min(self.most_per_node, self.most_per_cpu * cpus)
