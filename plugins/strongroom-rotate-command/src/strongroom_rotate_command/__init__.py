"""A strongroom rotator that has any program change what depends on a secret."""
