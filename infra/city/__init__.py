"""The city: its profile, its zones, and the one thing of it that must cost nothing to read."""
