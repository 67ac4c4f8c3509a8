"""Is an installation ready: what is looked at before its first hour, and which data leave it.

`rules/` judges; `portal`, `platforms` and `machine` look, each at one outside thing.
"""
