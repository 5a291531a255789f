"""SQLAlchemy engines and psycopg pools that log in with what strongroom has now.

The pools are in ``strongroom_sqlalchemy.pool``; they need the extra ``pool``.
"""

from __future__ import annotations

from strongroom_sqlalchemy.engine import connect_with as connect_with
from strongroom_sqlalchemy.engine import create_engine as create_engine
from strongroom_sqlalchemy.refusals import is_refused as is_refused
from strongroom_sqlalchemy.settings import LoginOptions as LoginOptions

__all__ = ["LoginOptions", "connect_with", "create_engine", "is_refused"]
