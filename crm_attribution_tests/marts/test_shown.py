"""What Dagster shows of marts: first rows that name no people, and business figures that are the mart's."""

from __future__ import annotations

import pytest

from crm_attribution.marts.figures import FIRST, first_rows
from crm_attribution.orchestration.assets import shown
from crm_attribution.orchestration.assets.sql import MODELS
from crm_attribution.warehouse.session import Session

pytestmark = pytest.mark.warehouse


def test_every_mart_shows_its_first_rows_and_no_owner(marts: Session) -> None:
    names = {key for model in MODELS if model.schema == "marts" for key in [model.key]}
    texts = {name: str(shown.of_mart(marts, name)["first rows"].value) for name in names}
    for name, text in texts.items():
        rows = marts.scalar(f"SELECT least(count(*), {FIRST}) FROM {name}")
        assert len(text.splitlines()) == 2 + rows, name
        assert not {"owner_name", "account_name", "account_domain"} & set(text.split()), name
    assert shown.of_mart(marts, "staging.deal") == {}


def test_business_figures_are_those_of_one_model_per_currency(marts: Session) -> None:
    given = {name: value.value for name, value in shown.of_mart(marts, "marts.revenue_attribution").items()}
    won = dict(marts.connection.execute(
        "SELECT 'won ARR in ' || currency, format('{:,.2f}', sum(arr_new)::DOUBLE) FROM marts.milestone"
        " WHERE is_counted AND milestone IN ('customer_won', 'customer_expanded') AND arr_new IS NOT NULL"
        " GROUP BY currency"
    ).fetchall())  # fmt: skip
    assert won
    assert {name: value for name, value in given.items() if name.startswith("won ARR")} == won
    assert given["wins no touch explains, per cent"] == "50.00", "one of the two wins has no touch"


def test_a_domain_is_not_shown(empty: Session) -> None:
    empty.connection.execute("CREATE TABLE marts_file.marts.one AS SELECT 'domain:ann.example' AS account_id, 1 AS n")
    assert first_rows(empty, "marts.one").rows() == [("domain:…", 1)]


def test_texts_stay_in_their_cell_and_short() -> None:
    assert shown.text("a|b\nc") == "a/b c"
    assert len(shown.text("x" * 100)) == shown.LONGEST
