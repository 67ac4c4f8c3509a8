"""HubSpot's HTTP API over a portal: thin routes, one file per area of the API."""
