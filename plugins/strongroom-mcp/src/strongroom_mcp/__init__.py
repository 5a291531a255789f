"""A Model Context Protocol server: language models use secrets without seeing them."""
