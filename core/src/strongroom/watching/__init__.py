"""What others change: looked for every now and then, and told once."""
