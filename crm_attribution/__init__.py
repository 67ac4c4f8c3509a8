"""HubSpot as the source of truth for B2B attribution: a Dagster batch pipeline."""
