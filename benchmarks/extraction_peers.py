"""Others on the same portal, for current values. Runs in their environment, so nothing of the product is imported.

`python extraction_peers.py NAME BASE_URL TOKEN FOLDER PROPERTIES` reads all contacts and writes a line of JSON as the
last one to stderr; stdout is the tap's output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def dlt_rest(base_url: str, token: str, folder: Path, properties: str) -> int:
    """`dlt` with its REST source into DuckDB: https://dlthub.com/docs/dlt-ecosystem/verified-sources/rest_api"""
    os.environ |= {"DLT_DATA_DIR": str(folder), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    import dlt
    from dlt.sources.rest_api import rest_api_source

    source = rest_api_source(
        {
            "client": {
                "base_url": f"{base_url}/crm/v3/",
                "auth": {"type": "bearer", "token": token},
                "paginator": {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"},
            },
            "resources": [
                {
                    "name": "contacts",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {
                        "path": "objects/contacts",
                        "params": {"limit": 100, "properties": properties},
                        "data_selector": "results",
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        "peer", destination=dlt.destinations.duckdb(str(folder / "peer.duckdb")), pipelines_dir=str(folder)
    )
    pipeline.run(source)
    return int(pipeline.last_trace.last_normalize_info.row_counts["contacts"])


def tap_hubspot(base_url: str, token: str, folder: Path, properties: str) -> int:
    """Singer's `tap-hubspot`; what it writes goes nowhere. The sandbox has no tickets, which it asks for."""
    del folder
    import singer
    import tap_hubspot as tap

    tap.BASE_URL = base_url
    tap.CONFIG.update(api_key=token, start_date="2026-01-01T00:00:00Z")
    wanted = {f"property_{name}" for name in properties.split(",")}
    schema, described = tap.load_discovered_schema(
        tap.Stream("contacts", tap.sync_contacts, ["id"], "updatedAt", "FULL")
    )
    for entry in described:
        name = entry["breadcrumb"][-1] if entry["breadcrumb"] else ""
        entry["metadata"]["selected"] = name in wanted or not name.startswith("property_")
    catalog = {"stream": "contacts", "tap_stream_id": "contacts", "schema": schema, "metadata": described}
    ask = tap.request

    def without_tickets(url: str, params: dict[str, Any] | None = None) -> Any:
        if params and "associations" in params:
            params["associations"] = "companies,deals"
        return ask(url, params)

    tap.request = without_tickets
    written = 0
    write = singer.write_record

    def count(*args: Any, **kwargs: Any) -> None:
        nonlocal written
        written += 1
        write(*args, **kwargs)

    singer.write_record = count
    tap.sync_contacts(singer.set_currently_syncing({}, "contacts"), tap.Context({"streams": [catalog]}))
    return written


PEERS = {"dlt": dlt_rest, "tap-hubspot": tap_hubspot}


def main(name: str, base_url: str, token: str, folder: str, properties: str) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    rows = PEERS[name](base_url, token, Path(folder), properties)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"rows": rows, "seconds": wall, "cpu": cpu}), file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:6])
