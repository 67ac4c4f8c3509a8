"""Extraction against the emulator: every row, every call."""
