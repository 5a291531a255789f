"""A keyring backend: programs that use keyring find their passwords in strongroom."""
