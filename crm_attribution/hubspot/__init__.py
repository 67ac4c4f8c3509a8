"""HubSpot's API as small typed methods. Knows HTTP through `Transport` only."""
