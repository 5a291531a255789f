"""What is recorded of each access: the stage, the buffer for cache hits, and the sinks behind it."""
