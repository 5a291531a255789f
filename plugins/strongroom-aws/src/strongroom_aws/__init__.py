"""AWS Secrets Manager as a backend of strongroom."""
