"""The same rules in the words of other enforcers: Vault's policies and AWS's."""
