"""Where link clicks come from. An adapter for another provider is one file here."""
