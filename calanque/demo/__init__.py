"""A seeded demo city: deliveries with injected faults, the truth about them, and a score of what was made of them."""
