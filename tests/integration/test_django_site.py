"""A Django project whose database login follows a secret, at a real PostgreSQL."""

from __future__ import annotations

import json
import os
import uuid

from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import Cli
from djangosite import Site
from postgres import Database, database, programs
from strongroom.testing import assert_hidden

MORE = """
SECRET_KEY = "x" * 60
INSTALLED_APPS += ["django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {{"default": database("db/shop", NAME="postgres", HOST="127.0.0.1", PORT={port})}}
"""


class Shop:
    """The project, its store and its user of the database."""

    def __init__(self, server: Database, folder: Path) -> None:
        self.server = server
        self.cli = Cli(folder=folder, home=folder)
        assert self.cli("init").status == 0
        self.user = f"shop_{uuid.uuid4().hex[:8]}"
        server.query(f"CREATE ROLE {self.user} LOGIN CREATEDB")
        server.query(f"GRANT ALL ON SCHEMA public TO {self.user}")
        self.password = ""
        self.change()
        self.store()
        self.site = Site(folder)
        self.site.write("", more=MORE.format(port=server.port))

    def change(self) -> None:
        """Give the user another password, of which the secret knows nothing yet."""
        self.password = f"pw-{uuid.uuid4().hex}"
        self.server.query(f"ALTER ROLE {self.user} PASSWORD '{self.password}'")

    def login(self) -> str:
        return json.dumps({"username": self.user, "password": self.password})

    def store(self) -> None:
        """Have the secret say what the server lets in."""
        assert self.cli("set", "db/shop", stdin=self.login()).status == 0


@pytest.fixture(scope="session")
def server() -> Iterator[Database]:
    with database() as started:
        yield started


@pytest.fixture
def shop(server: Database, tmp_path: Path) -> Shop:
    return Shop(server, tmp_path)


def test_migrations_log_in_with_the_secret(shop: Shop) -> None:
    shop.site.output("migrate", "--verbosity", "0")
    assert "[X]" in shop.site.output("showmigrations", "contenttypes")
    tables = shop.server.query(f"SELECT tablename FROM pg_tables WHERE tableowner = '{shop.user}'")
    assert ("auth_user",) in tables
    shop.server.query(f"DROP OWNED BY {shop.user}")


def test_nothing_is_read_where_no_connection_is_made(shop: Shop) -> None:
    assert shop.cli("delete", "db/shop").status == 0
    assert "no issues" in shop.site.output("check")
    done = shop.site.manage("migrate")
    assert done.returncode == 1
    assert "db/shop" in done.stderr


def test_a_new_connection_uses_a_rotated_password_in_the_same_process(shop: Shop) -> None:
    code = """
import pathlib, time
from django.db import connection

def who():
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return cursor.fetchone()[0]

print("first", who())
pathlib.Path("ready").touch()
while not pathlib.Path("changed").exists():
    time.sleep(0.05)
print("second", who())
"""
    changed = shop.site.start(code=code)
    shop.site.wait_for("ready", changed)
    shop.change()
    shop.store()
    (shop.site.folder / "changed").touch()
    printed, errors = changed.communicate(timeout=60)
    assert changed.returncode == 0, errors
    assert f"first {shop.user}" in printed
    assert f"second {shop.user}" in printed


def test_a_login_that_stays_refused_shows_no_password(shop: Shop) -> None:
    known = shop.password
    shop.change()
    more = MORE.format(port=shop.server.port)
    views = """
from django.db import connection

def fail(request):
    connection.ensure_connection()
"""
    shop.site.write("", more=more, debug=True, views=views, paths='path("fail", fail),')
    code = """
from django.test import Client
print(Client(raise_request_exception=False).get("/fail").content.decode())
"""
    page = shop.site.output(code=code)
    assert "OperationalError" in page
    assert "password authentication failed" in page
    assert_hidden(known, page, "the page")


def test_dbshell_logs_in_with_the_secret(shop: Shop) -> None:
    path = os.pathsep.join([str(programs()), os.environ["PATH"]])
    printed = shop.site.output("dbshell", "--", "--tuples-only", "--command", "SELECT current_user", PATH=path)
    assert shop.user in printed


def test_the_test_database_is_made_with_the_secret(shop: Shop) -> None:
    (shop.site.folder / "shop" / "tests.py").write_text(
        "from django.contrib.auth.models import User\n"
        "from django.test import TestCase\n\n"
        "class Users(TestCase):\n"
        "    def test_one(self):\n"
        "        User.objects.create_user('one')\n"
        "        self.assertEqual(User.objects.count(), 1)\n"
    )
    done = shop.site.manage("test", "shop", "--noinput")
    assert done.returncode == 0, done.stderr
    assert "Ran 1 test" in done.stderr
