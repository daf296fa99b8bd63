"""Per-image logs of other people's code: reading, importing and writing them."""
