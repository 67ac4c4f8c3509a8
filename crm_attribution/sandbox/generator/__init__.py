"""Writes portal logs: what happened in an invented company's CRM, one JSON object per line."""
