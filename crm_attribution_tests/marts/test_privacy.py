"""No model carries personal data: by the names of its columns, and by a value planted wherever a person could be."""

from __future__ import annotations

import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.marts.models import SqlModel
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.marts import sample_rows

PERSONAL = {
    "additional_emails",
    "dealname",
    "destination_url",
    "email",
    "fbclid",
    "first_name",
    "firstname",
    "gbraid",
    "gclid",
    "identifier",
    "ip_hash",
    "last_name",
    "lastname",
    "li_fat_id",
    "msclkid",
    "page_url",
    "phone",
    "properties",
    "referrer",
    "ttclid",
    "user_agent",
    "utm_content",
    "utm_term",
    "wbraid",
}
MODELS = sample_rows.models()


def key(model: SqlModel) -> str:
    return model.key


@pytest.mark.parametrize("model", MODELS, ids=key)
def test_no_column_is_a_personal_one(model: SqlModel) -> None:
    assert {column.name for column in model.columns} & PERSONAL == set()


@pytest.mark.parametrize("model", MODELS, ids=key)
def test_what_was_planted_in_raw_is_nowhere(marts: Session, model: SqlModel) -> None:
    shown = marts.connection.execute(f"SELECT * FROM {model.key}").fetchall()
    assert [row for row in shown if sample_rows.CANARY in repr(row)] == []


def test_the_planted_value_lies_in_every_personal_column_of_raw(marts: Session) -> None:
    """Else the test above would prove nothing."""
    planted = {
        column
        for table in ("raw.contact", "raw.deal", "raw.owner", "raw.form_submission", "raw.link_click")
        for column in (column.name for column in CONTRACTS[table].columns)
        if marts.scalar(f"SELECT count(*) FROM {table} WHERE {column}::VARCHAR LIKE '%{sample_rows.CANARY}%'")
    }
    assert planted == {
        "additional_emails", "additional_emails_normalised", "dealname", "destination_url", "email",
        "email_normalised", "first_name", "gclid", "ip_hash", "last_name", "page_url", "properties", "referrer",
        "user_agent", "utm_content", "utm_term",
    }  # fmt: skip
