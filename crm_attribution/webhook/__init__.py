"""The receiver: takes what HubSpot and workflows push, puts it on disk, answers. Knows nothing of the warehouse."""
