"""Rewrites what is compared with the registries word for word; run by `make snapshots`, then read the difference.

Asset keys, checks and the table of settings follow from the code. They are files so that a change of them is seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from crm_attribution.configuration import table

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "docs" / "settings.md"
ORCHESTRATION = ROOT / "crm_attribution_tests" / "orchestration"
SETTINGS_TEXT = f"""# Settings

Everything comes from the environment or from `--env-file` (same names). This page is generated: `make snapshots`.

{table()}"""


def inventory(root: Path = ROOT) -> dict[str, Any]:
    """What Dagster sees, in a process of its own with nothing in the environment."""
    done = subprocess.run(
        [sys.executable, "-m", "crm_attribution_tests.orchestration.inventory"],
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def snapshots(seen: dict[str, Any]) -> dict[Path, str]:
    """Each file with what should stand in it."""
    checks = [f"{name}{' (blocking)' if check['blocking'] else ''}" for name, check in seen["checks"].items()]
    return {
        SETTINGS: SETTINGS_TEXT,
        ORCHESTRATION / "asset_keys.txt": "".join(f"{key}\n" for key in sorted(seen["assets"])),
        ORCHESTRATION / "checks.txt": "".join(f"{check}\n" for check in sorted(checks)),
    }


if __name__ == "__main__":
    for path, text in snapshots(inventory()).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"rewritten: {path.relative_to(ROOT)}")
