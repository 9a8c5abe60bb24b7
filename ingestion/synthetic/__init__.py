"""What made-up deliveries are made of: draws, rhythms, lines of text, and the faults that senders make."""
