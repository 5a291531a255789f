"""Sends spans, metrics and audit events of strongroom to an OpenTelemetry collector."""
