"""The report of the published file: one HTML page that needs no network."""
