"""The commands, by family."""
