"""A strongroom backend for HashiCorp Vault and OpenBao."""
