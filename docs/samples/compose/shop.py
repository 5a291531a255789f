"""A program that knows nothing of strongroom: a file and a variable hold what it needs. It shows no value."""

import json
import os
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with open(os.environ["SHOP_SETTINGS"], encoding="utf-8") as file:
    settings = json.load(file)
print(f"{settings['user']} at {settings['host']}, a password of {len(settings['password'])} characters", flush=True)
print(f"a session key of {len(os.environ['SESSION_KEY'])} characters", flush=True)
signal.sigwait({signal.SIGTERM})
print("stopped in order", flush=True)
