"""Steps: read what changed, call pure transforms or a client, write the result. They know no Dagster.

Between the edges (clients, warehouse) and the assets: an asset calls one step and reports what it returns.
"""
