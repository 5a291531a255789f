"""What several operations pass through: the gate, loads that are shared, the way of every change."""
