"""The encrypted local store of strongroom: secrets in one SQLite file, sealed with AES-256-GCM."""
