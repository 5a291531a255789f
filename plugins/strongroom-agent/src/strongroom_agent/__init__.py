"""The agent: secrets, health and metrics of strongroom for the programs of one machine."""
