"""A strongroom cache policy that refreshes what is in use and learns how long answers hold."""
