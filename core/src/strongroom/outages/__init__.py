"""How an outage is seen through: the fallback store, writes that wait, and what is made of them afterwards."""
