"""A Django project of a test's own, whose ``manage.py`` is run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from pathlib import Path

TIME_LIMIT = 120.0

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
execute_from_command_line(sys.argv)
"""

SETTINGS = """
import strongroom_django
from strongroom_django import database, secret, secret_key_fallbacks

{configure}
ALLOWED_HOSTS = ["*"]
DEBUG = {debug}
INSTALLED_APPS = ["strongroom_django"]
MIDDLEWARE = []
ROOT_URLCONF = "shop.urls"
DEFAULT_EXCEPTION_REPORTER = "strongroom_django.reporting.StrongroomExceptionReporter"
TEMPLATES = [{{"BACKEND": "django.template.backends.django.DjangoTemplates"}}]
{more}
"""

URLS = """
from django.http import HttpResponse
from django.urls import path
from strongroom_django import health

{views}

urlpatterns = [path("health", health.view), {paths}]
"""


class Site:
    """A project in a folder, whose settings the test writes.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop").mkdir()
        (folder / "shop" / "__init__.py").write_text("")
        (folder / "manage.py").write_text(MANAGE)

    def write(self, configure: str, *, more: str = "", debug: bool = False, views: str = "", paths: str = "") -> None:
        """Write the settings and the URLs.

        Args:
            configure: The line that tells where secrets are.
            more: Further settings.
            debug: Whether ``DEBUG`` is set.
            views: The code of views.
            paths: Their entries in the list of URLs.
        """
        settings = SETTINGS.format(configure=configure, debug=debug, more=more)
        (self.folder / "shop" / "settings.py").write_text(settings)
        (self.folder / "shop" / "urls.py").write_text(URLS.format(views=views, paths=paths))

    def manage(self, *arguments: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py``.

        Args:
            arguments: What it is given; with ``code`` a shell that runs that.
            code: Code to be run in the project.
            environment: Further variables.
        """
        process = self.start(*arguments, code=code, **environment)
        try:
            printed, errors = process.communicate(timeout=TIME_LIMIT)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)

    def start(self, *arguments: str, code: str = "", **environment: str) -> subprocess.Popen[str]:
        """Start ``manage.py``, as :meth:`manage` does, and leave it running."""
        command = [sys.executable, "-W", "error::RuntimeWarning", "manage.py", *(arguments or ("shell", "-c", code))]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, name: str, process: subprocess.Popen[str]) -> None:
        """Wait until a process has made a file in the project's folder.

        Raises:
            AssertionError: It has ended, or it has taken too long.
        """
        end = time.monotonic() + TIME_LIMIT
        while not (self.folder / name).exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, f"{name} never came"
            time.sleep(0.05)

    def output(self, *arguments: str, code: str = "", **environment: str) -> str:
        """Run ``manage.py`` as :meth:`manage` does, and return what it prints; it has to succeed."""
        done = self.manage(*arguments, code=code, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
