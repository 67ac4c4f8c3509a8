-- One row per day, subject (person, deal or account), subtype of deals, step of the funnel and channel of the subject's entry
-- touch.
-- `reached` is the funnel: each subject counts once per step, on the day it first got to that step or beyond it, so a
-- deal that jumps from demo to won has reached the proposal too, and no step is ever larger than the one before it.
-- `milestones` counts the facts of exactly that step. Days may be added up into weeks and months, channels too; steps
-- and subjects may not. Persons end at sales_qualified_lead, deals begin at opportunity_created, accounts have all steps.
-- Reversed facts and internal or test traffic (suppressed milestones) do not count. A renewal is no step of a funnel:
-- its facts are left out, unless its win is the account's first.
--
-- The channel is that of the touch the subject entered with: one for all its steps, so rates per channel are true
-- rates. The model first_touch of marts.revenue_attribution names another: the first touch in the look-back window of an
-- outcome, also where it came after the entry.
-- Money is in marts.funnel_value, where it stands per currency.
--
-- @audience: marketing, revenue-operations
-- @column booked_on [not_null]: day in the account's time zone: close date of wins, else the day it happened
-- @column booked_month [not_null]: first day of that month
-- @column subject [not_null] [in person, deal, account]: what is counted; never add different subjects up
-- @column subtype [in new, expansion, renewal]: of deals, by the pipeline of the newest fact, one for all the steps of a deal, so
--   rates per subtype are true rates; null for persons and accounts, which are of all of them
-- @column step_number [not_null] [>= 1] [<= 11]: position of the step in the funnel
-- @column step [not_null] [in lead_captured, qualified_lead, sales_qualified_lead, opportunity_created,
--   meeting_scheduled, opportunity_qualified, demo_completed, negotiation_started, proposal_sent, customer_won,
--   customer_expanded]: the step; a won expansion has reached customer_won and customer_expanded, a renewal none
-- @column entry_channel [not_null]: channel of the subject's entry touch, its earliest up to an hour after its first
--   fact, or Unattributed; not what the model first_touch credits, which looks at the window of one outcome
-- @column reached [not_null] [>= 0]: subjects that first reached this step or a later one on this day
-- @column milestones [not_null] [>= 0]: facts of exactly this step booked on this day
-- @unique: booked_on, subject, subtype, step, entry_channel
with step (step_number, step) as (
    values
        (1, 'lead_captured'),
        (2, 'qualified_lead'),
        (3, 'sales_qualified_lead'),
        (4, 'opportunity_created'),
        (5, 'meeting_scheduled'),
        (6, 'opportunity_qualified'),
        (7, 'demo_completed'),
        (8, 'negotiation_started'),
        (9, 'proposal_sent'),
        (10, 'customer_won'),
        (11, 'customer_expanded')
),

counted as (
    select fact.*, step.step_number
    from staging.funnel_fact as fact
    join step on step.step = fact.milestone
),

sold as (
    select deal_id, arg_max(subtype, (observed_at, milestone, milestone_id)) as subtype
    from counted
    where deal_id is not null
    group by deal_id
),

fact as (
    select 'person' as subject, person_id as subject_id, null as subtype, step_number, booked_on
    from counted
    where person_id is not null
    union all
    select 'deal', counted.deal_id::varchar, sold.subtype, counted.step_number, counted.booked_on
    from counted
    join sold on sold.deal_id = counted.deal_id
    union all
    select 'account', account_id, null, step_number, booked_on
    from counted
    where account_id is not null
),

span (subject, first_step, last_step) as (
    values ('person', 1, 3), ('deal', 4, 11), ('account', 1, 11)
),

placed as (
    select fact.*, span.first_step, span.last_step
    from fact
    join span on span.subject = fact.subject
),

first_reached as (
    select placed.subject, placed.subject_id, placed.subtype, step.step_number, min(placed.booked_on) as booked_on
    from placed
    join step
        on step.step_number between placed.first_step and least(placed.step_number, placed.last_step)
    group by placed.subject, placed.subject_id, placed.subtype, step.step_number
),

per_step as (
    select subject, subject_id, subtype, step_number, booked_on, 1 as reached, 0 as milestones from first_reached
    union all
    select subject, subject_id, subtype, step_number, booked_on, 0, 1
    from placed
    where step_number between first_step and last_step
)

select
    per_step.booked_on,
    date_trunc('month', per_step.booked_on)::date as booked_month,
    per_step.subject,
    per_step.subtype,
    per_step.step_number,
    step.step,
    entry.entry_channel,
    sum(per_step.reached)::bigint as reached,
    sum(per_step.milestones)::bigint as milestones
from per_step
join step on step.step_number = per_step.step_number
left join staging.funnel_entry as entry on entry.subject = per_step.subject and entry.subject_id = per_step.subject_id
group by all
