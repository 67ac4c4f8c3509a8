"""The questions of docs/finance.md, asked on a published file. Needs nothing but duckdb, so that any client can run it:

python crm_attribution_tests/questions.py data/demo/finance.duckdb
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import duckdb

PAGE = Path(__file__).parents[1] / "docs" / "finance.md"
_QUESTION = re.compile(r"^### (?P<question>.+?)\n+```sql\n(?P<sql>.+?)```", re.MULTILINE | re.DOTALL)


def questions() -> dict[str, str]:
    """Question -> its query, in the order of the page."""
    return {found["question"]: found["sql"] for found in _QUESTION.finditer(PAGE.read_text(encoding="utf-8"))}


def answers(path: str) -> dict[str, int]:
    """Question -> how many rows answer it."""
    with duckdb.connect(path, read_only=True) as connection:
        return {question: len(connection.execute(sql).fetchall()) for question, sql in questions().items()}


def read_everything(path: str) -> int:
    """Fetch every row of every table; how many."""
    with duckdb.connect(path, read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts'").fetchall()
        return sum(len(connection.execute(f"SELECT * FROM marts.{name}").fetchall()) for (name,) in tables)


if __name__ == "__main__":
    print(f"DuckDB {duckdb.__version__} reads {read_everything(sys.argv[1])} rows")
    for question, count in answers(sys.argv[1]).items():
        print(f"{count:6} rows  {question}")
