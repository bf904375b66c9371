"""The Metrics tab: reports, where they come from, and how they are shown."""
