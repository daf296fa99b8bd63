"""The hot path: noise, tiles, counts."""
