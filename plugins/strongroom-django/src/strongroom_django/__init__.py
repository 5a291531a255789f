"""Django settings that come from strongroom, logins to databases that follow it, and reports that hide its values."""

from __future__ import annotations

from strongroom_django.helpers import database as database
from strongroom_django.helpers import secret as secret
from strongroom_django.helpers import secret_key_fallbacks as secret_key_fallbacks
from strongroom_django.hidden import HiddenText as HiddenText
from strongroom_django.managers import configure as configure
from strongroom_django.managers import manager as manager

__all__ = ["HiddenText", "configure", "database", "manager", "secret", "secret_key_fallbacks"]
