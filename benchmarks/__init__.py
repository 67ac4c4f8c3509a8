"""Measurements against the sandbox, each a program: `python -m benchmarks.extraction`. None asserts on time."""
