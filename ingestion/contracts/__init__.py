"""What contracts of silos are made of, and how rows are held to them."""
