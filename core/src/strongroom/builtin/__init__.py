"""What the core itself offers through entry points: the backend in memory and two cache policies."""
