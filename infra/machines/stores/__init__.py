"""The two object stores that a lake can stand on."""
