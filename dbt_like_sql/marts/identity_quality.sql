-- One row per figure that says how well people and accounts are recognised: how many, of how many. Shares that move tell of
-- forms without e-mails, shared mailboxes, duplicates and links without a contact id. Empty rows are left out.
--
-- @audience: revenue-operations
-- @column figure [not_null] [in person, person_without_account, person_of_several_contacts, account, account_without_company,
--   account_shares_domain, deal_without_company, edge, edge_rejected, link_click, email_click, touch_without_person]: what is
--   counted: people, and those without an account or with several contacts; accounts, those of a domain alone, and those
--   that share their domain with another company; deals without a company; identifiers seen together, and those that may not
--   join people; clicks by what became of them; touches of a shared mailbox
-- @column detail: basis, rule, or status and reason; null where the figure has none
-- @column records [not_null] [>= 0]: how many
-- @column of_records [not_null] [>= 1]: of how many: all people, accounts, deals, edges, clicks or touches
-- @column share [not_null] [>= 0] [<= 1]: records / of_records
-- @unique: figure, detail
with person as (
    select person_id, contacts
    from identity.person
    where merged_into is null
),

placed as (
    select distinct person_id
    from identity.membership
    where valid_to is null
),

figure as (
    select 'person' as figure, null as detail, count(*) as records, count(*) as of_records
    from person
    union all
    select 'person_without_account', null, count(*) filter (where placed.person_id is null), count(*)
    from person
    left join placed on placed.person_id = person.person_id
    union all
    select 'person_of_several_contacts', null, count(*) filter (where contacts > 1), count(*)
    from person
    union all
    select 'account', null, count(*), count(*)
    from identity.account
    union all
    select 'account_without_company', split_part(account_id, ':', 1), count(*), (select count(*) from identity.account)
    from identity.account
    where company_id is null
    group by all
    union all
    select 'account_shares_domain', null, count(*) filter (where shares_domain), count(*)
    from identity.account
    union all
    select 'deal_without_company', null, count(*) filter (where basis = 'own'), count(*)
    from identity.deal_account
    union all
    select 'edge', rule, count(*), (select count(*) from identity.edge)
    from identity.edge
    group by rule
    union all
    select 'edge_rejected', rule, count(*), (select count(*) from identity.edge)
    from identity.edge_rejected
    group by rule
    union all
    select 'link_click', concat_ws(': ', status, reason), count(*), (select count(*) from identity.click)
    from identity.click
    group by all
    union all
    select 'email_click', concat_ws(': ', status, reason), count(*), (select count(*) from identity.email_click)
    from identity.email_click
    group by all
    union all
    select 'touch_without_person', null, count(*) filter (where person_id is null), count(*)
    from attribution.touch
)

select
    figure,
    detail,
    records,
    of_records,
    (records::decimal(18, 0) / of_records)::decimal(9, 6) as share
from figure
where of_records > 0 and (records > 0 or detail is null)
