"""Links of the catalog: the right section of a page, and none where there is no page."""

from __future__ import annotations

import dagster as dg

from crm_attribution.orchestration import catalog


def test_a_section_ends_at_the_next_heading_of_its_level(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n## One\n\nfirst\n\n### Part\n\nmore\n\n## Two\n\nsecond\n", encoding="utf-8")
    assert catalog.section(page, "One") == (3, "## One\n\nfirst\n\n### Part\n\nmore")
    assert catalog.section(page, "Two") == (11, "## Two\n\nsecond")
    assert catalog.section(page, "Three") is None
    assert catalog.section(tmp_path / "nowhere.md", "One") is None


def test_the_sql_and_its_page_are_linked_with_their_places(tmp_path, monkeypatch):
    sql = tmp_path / "dbt_like_sql" / "marts" / "won.sql"
    sql.parent.mkdir(parents=True)
    sql.write_text("-- Won.\nselect 1", encoding="utf-8")
    (tmp_path / "README.md").write_text("# It\n\n## Query it\n\nSo.\n", encoding="utf-8")
    monkeypatch.setattr(catalog, "ROOT", tmp_path)
    found = catalog.links("marts.won", sql)
    assert "-- Won.\nselect 1" in str(found["sql"].value)
    assert str(found["documentation"].value).startswith("## Query it\n\nSo.")
    references = found["dagster/code_references"]
    assert isinstance(references, dg.CodeReferencesMetadataValue)
    places = [(one.label, one.source) for one in references.code_references]
    assert places == [
        ("dbt_like_sql/marts/won.sql", f"{sql}:1"),
        ("README.md: Query it", f"{tmp_path / 'README.md'}:3"),
    ]
    monkeypatch.setattr(catalog, "ROOT", tmp_path / "a wheel")
    assert set(catalog.links("marts.won", sql)) == {"sql", "dagster/code_references"}
