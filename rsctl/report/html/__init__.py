"""A sweep as one HTML file that opens offline: tables, curves, images, provenance."""
