"""The meaning of each rule's name, in a sentence."""

from __future__ import annotations

REFUSALS = {
    "blocked_value": "identity.blocked_values or blocked_domains names the value",
    "role_mailbox": "identity.role_mailboxes names the mailbox: many people read it",
    "shared_identifier": "it is on more contacts than identity.shared_identifier_contacts",
    "manual_exclude": "identity.exclude keeps the two apart",
    "two_live_contacts": "a weak edge never joins two who both hold live contacts",
    "person_emails": "the person would have more e-mails than identity.person_emails",
    "person_size": "the person would be larger than identity.person_size",
}

MILESTONES = {
    "first_entry_of_person": "the first time any contact of the person entered the stage",
    "first_entry_of_deal": "the first time the deal entered the stage (an opportunity: any of a tracked pipeline)",
    "earliest_standing_win_of_account": "the earliest win of the account that was not lost since",
    "later_win_of_account": "the account had won before",
    "renewal_of_account": "won in a renewal pipeline",
    "lifecycle_adopted_by_deal": "a lifecycle change came first; the deal came within milestones.adopt_days",
    "lifecycle_without_deal": "a lifecycle change that no deal explains within milestones.echo_hours",
}

REVERSALS = {
    "archived": "the deal is archived",
    "reopened": "the deal was moved back into an open stage",
    "lost_after_won": "the deal was lost after it was won",
}

LINKS = {
    "echo": "echo: a lifecycle change that a deal of before, or within milestones.echo_hours, explains",
    "adopted": "adoption: it came first, and the deal within milestones.adopt_days took it over",
    "own": "no deal explains it",
    "repeated": "the account or person has this milestone already",
    "first": "the earliest entry",
    "won_again": "the deal was won again",
    "later_entry_of_deal": "a later entry of the same deal",
    "later_entry_of_person": "a later entry of the same person",
}

SUPPRESSIONS = {
    "contact_ids": "suppression.contact_ids names the contact",
    "company_ids": "suppression.company_ids names the company",
    "deal_ids": "suppression.deal_ids names the deal",
    "email_domain": "suppression.domains names the domain of the contact's e-mail",
    "company_domain": "suppression.domains names the company's domain",
    "test_address": "suppression.addresses matches the contact's e-mail",
    "deal_contacts": "all contacts of the deal are internal or test ones",
}

TIME_BASES = {
    "history": "HubSpot's time of the change",
    "closedate": "the close date: HubSpot learned of it later",
    "createdate": "the record's creation: the stage came with it",
    "became_date": "the became-a-stage date: HubSpot learned of it later",
    "date_entered": "the date-entered property: the history was cut off",
    "backdated": "a win of the deal, which lies before its creation",
}

GAPS = {
    "stage_unknown": "no list of HubSpot names the stage, and deals.stages of the mapping does not either",
    "pipeline_unmapped": "deals.pipelines of the mapping gives the pipeline no kind: its deals make no milestones",
    "stage_disagrees": "deals.stages of the mapping calls the stage otherwise than HubSpot's own metadata",
    "deal_refused": "its newest version could not be read: what is told of it is older",
    "rate_missing": "no rate turns amounts of this currency into the account's home currency",
}

PIPELINES: dict[str | None, str] = {
    "new": "new: new business, or an expansion by dealtype",
    "expansion": "expansion: its wins add to a customer",
    "renewal": "renewal: its wins renew",
    "churn": "churn: what is won here ends recurring revenue",
    "ignore": "ignore: nothing of it counts",
    None: "none: deals.pipelines of the mapping does not name it, nothing of it counts",
}
