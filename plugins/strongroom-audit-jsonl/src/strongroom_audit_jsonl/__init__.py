"""An audit sink that appends JSON lines, chained and sealed, and verifies them."""
