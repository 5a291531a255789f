"""A strongroom rotator for TLS certificates of a local authority."""
