"""Who is told what has happened: callbacks in the process, commands and webhooks outside."""
