"""The results mode: tables, curves, images and exports."""
