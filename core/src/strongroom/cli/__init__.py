"""The command ``strongroom``: one module for each group of commands, imported only when called."""
