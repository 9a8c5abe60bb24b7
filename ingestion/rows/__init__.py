"""From source columns to conformed rows, pseudonymised, staged and counted; and to quarantine."""
