"""What a manager does, one module an operation: reading, writing, batches, keys, recovery, upkeep."""
