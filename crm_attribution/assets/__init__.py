"""Dagster assets, one module per layer: window, read, transform, write, report. The logic is in `steps`."""
