"""The way out: building candidate marts, checking them, releasing them."""
