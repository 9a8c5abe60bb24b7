"""Lineage as plain data, and the classes that say what a column can tell about a person."""
