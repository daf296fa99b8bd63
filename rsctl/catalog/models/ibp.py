"""The networks of interval bound propagation."""

from __future__ import annotations

from rsctl.catalog.declare import Model

MODELS = (
    *(
        Model(
            f"ibp-{name}",
            f"The {name} convolutional network of certified training",
            "Gowal et al.: Scalable Verified Training for Provably Robust Image Classification, ICCV 2019, table 1",
            smallest=smallest,
            implementation="jobs.models.architectures.ibp",
            about=f"The {name} network of interval bound propagation's paper: {layers}. It has affine layers and ReLUs only, "
            "no normalisation.",
            use_when="With the methods `ibp` and `crown-ibp`, to compare with certified training as published.",
        )
        for name, smallest, layers in (
            ("small", 10, "two convolutions of 16 and 32 channels and a hidden layer of 100 units"),
            ("medium", 16, "four convolutions of 32 and 64 channels and two hidden layers of 512 units"),
            ("large", 4, "five convolutions of 64 and 128 channels and a hidden layer of 512 units"),
        )
    ),
)
