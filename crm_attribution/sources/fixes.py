"""What a person does about a value that was refused, by the reason it was refused for."""

from __future__ import annotations

FIXES = {
    "missing": "give the column a value",
    "not_a_date": "write 2026-03-31",
    "not_a_month": "write 2026-03, or its first day",
    "not_a_time": "write 2026-03-31T14:00:00Z; without a zone it is UTC",
    "not_a_whole_number": "digits only, from 0",
    "negative": "digits only, from 0",
    "not_an_amount": "a decimal number with a point, no separators of thousands, below 10^14 minor units",
    "more_digits_than_EUR_has": "round to the currency's minor unit, or correct the currency",
    "not_an_ISO_4217_code": "three letters: EUR",
    "not_a_number_above_zero": "a decimal number with a point, at most 18 digits on each side",
    "not_a_name": "a name with letters or digits",
    "named_twice": "keep one of the names that mean the same property",
    "not_an_address": "an e-mail such as ann@firm.com, or name the contact by its id",
    "no_address": "a website such as https://www.firm.com/about, or its domain",
    "not_an_object": 'a JSON object: {"plan": "pro"}',
    "no_such_property": "make the property in HubSpot, or name another one under write_back.identify.names",
    "not_to_be_written": "leave it out: it is HubSpot's own, or the pipeline reads it",
    "not_a_number": "digits, with a point",
    "not_true_or_false": "true or false",
    "no_such_option": "an option of the property in HubSpot, by its internal value; or add the option there",
    "no_such_stage": "a lifecycle stage of the mapping (lifecycle.order), by its id",
    "names_no_company": "the company's own website: that of a mail or hosting provider names nobody",
    "several_companies_have_the_domain": "merge the companies in HubSpot",
    "twice_in_one_file": "remove the line, or give the file a column that tells the two apart, such as the ad group",
}


def fix(reason: str) -> str | None:
    """The fix of a reason; None where none is known. The currency in a reason is that of the row."""
    if reason.startswith("more_digits_than_"):
        return FIXES["more_digits_than_EUR_has"]
    return FIXES.get(reason)
