"""A project of Django's with its settings from strongroom, run by its ``manage.py``."""

from __future__ import annotations

import json
import sys

import pytest

from djangosite import Site
from strongroom.testing import assert_hidden

KEY = "k3y-of-the-shop-0123456789-abcdefghijklmnopqrstuvwxyz!"
TOKEN = "t0ken <&\"'> of payment"
SEED = {"django/secret-key": {"env": "KEY"}, "payment": {"env": "TOKEN"}}
CONFIGURE = f"""
strongroom_django.configure({{
    "audit": "none",
    "backends": {{"here": {{"type": "memory", "seed": {SEED!r}}}}},
}})
"""
MORE = """
SECRET_KEY = secret("django/secret-key")
PAYMENT = secret("payment")
NESTED = {"url": ["https://pay.example.com", (PAYMENT,)]}
WITHIN = {"url": f"https://shop:{PAYMENT}@pay.example.com"}
"""
ENVIRONMENT = {"KEY": KEY, "TOKEN": TOKEN}

VIEWS = """
import base64
from django.conf import settings

def fail(request):
    plain = str(settings.PAYMENT)
    message = f"no answer to {plain}"
    encoded = base64.b64encode(plain.encode()).decode()
    deep = {"a": ["b" * 70 + " " + plain]}
    raise RuntimeError(message)
"""
PATHS = 'path("fail", fail),'

FETCH = """
from django.test import Client
answer = Client(raise_request_exception=False).get({path!r}, headers={{"accept": {accept!r}}})
print(answer.status_code)
print(answer.content.decode())
"""


@pytest.fixture
def shop(site: Site) -> Site:
    site.write(CONFIGURE, more=MORE, views=VIEWS, paths=PATHS)
    return site


def shows_nothing(text: str) -> None:
    assert_hidden(KEY, text, "the output")
    assert_hidden(TOKEN, text, "the output")


def fetch(site: Site, path: str, accept: str = "text/html") -> tuple[int, str]:
    printed = site.output(code=FETCH.format(path=path, accept=accept), **ENVIRONMENT)
    lines = printed.splitlines()
    # Newer versions say first what they have imported.
    start = next(at for at, line in enumerate(lines) if line.isdigit())
    return int(lines[start]), "\n".join(lines[start + 1 :])


def test_settings_are_what_the_secrets_say(shop: Site) -> None:
    code = "from django.conf import settings as s; print([s.SECRET_KEY + s.PAYMENT, str(s.NESTED['url'][1][0])])"
    assert repr([KEY + TOKEN, TOKEN]) in shop.output(code=code, **ENVIRONMENT)


def test_diffsettings_shows_no_value(shop: Site) -> None:
    for output in ("hash", "unified"):
        printed = shop.output("diffsettings", "--output", output, **ENVIRONMENT)
        assert "PAYMENT = '[hidden]'" in printed
        assert "NESTED = {'url': ['https://pay.example.com', ('[hidden]',)]}" in printed
        assert "WITHIN = {'url': 'https://shop:[masked]@pay.example.com'}" in printed
        shows_nothing(printed)


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_the_debug_page_shows_no_value(site: Site, accept: str) -> None:
    site.write(CONFIGURE, more=MORE, views=VIEWS, paths=PATHS, debug=True)
    status, page = fetch(site, "/fail", accept)
    assert status == 500
    assert "no answer to [masked]" in page
    assert "RuntimeError" in page
    shows_nothing(page)
    if accept == "text/html":
        assert "plain" in page
        assert "PAYMENT" in page


def test_a_mail_about_a_log_record_shows_no_value(site: Site) -> None:
    more = f"""{MORE}
ADMINS = [("Ops", "ops@example.com")]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
LOGGING = {{
    "version": 1,
    "handlers": {{
        "mail": {{"class": "strongroom_django.reporting.StrongroomAdminEmailHandler", "include_html": True}}
    }},
    "loggers": {{"shop": {{"handlers": ["mail"]}}}},
}}
"""
    site.write(CONFIGURE, more=more)
    code = """
import logging
from django.conf import settings
from django.core import mail
mail.outbox = []
logging.getLogger("shop").error("no answer to %s", settings.PAYMENT)
print(mail.outbox[0].subject, mail.outbox[0].body, mail.outbox[0].alternatives)
"""
    printed = site.output(code=code, **ENVIRONMENT)
    assert "ERROR: no answer to [masked]" in printed
    shows_nothing(printed)


def test_a_mail_about_an_error_shows_no_value(site: Site) -> None:
    more = f"""{MORE}
ADMINS = [("Ops", "ops@example.com")]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
LOGGING = {{
    "version": 1,
    "handlers": {{
        "mail": {{"class": "django.utils.log.AdminEmailHandler", "level": "ERROR", "include_html": True}}
    }},
    "loggers": {{"django.request": {{"handlers": ["mail"], "propagate": False}}}},
}}
"""
    site.write(CONFIGURE, more=more, views=VIEWS, paths=PATHS)
    code = """
from django.core import mail
from django.test import Client
Client(raise_request_exception=False).get("/fail")
print(len(mail.outbox), mail.outbox[0].body, mail.outbox[0].alternatives)
"""
    printed = site.output(code=code, **ENVIRONMENT)
    assert "1 " in printed
    assert "no answer to [masked]" in printed
    shows_nothing(printed)


def test_a_log_that_is_written_by_our_formatter_shows_no_value(site: Site) -> None:
    more = f"""{MORE}
LOGGING = {{
    "version": 1,
    "formatters": {{"masked": {{
        "()": "strongroom_django.reporting.StrongroomFormatter", "format": "%(levelname)s: %(message)s"
    }}}},
    "handlers": {{"console": {{
        "class": "logging.StreamHandler", "formatter": "masked", "stream": "ext://sys.stdout"
    }}}},
    "loggers": {{"django.request": {{"handlers": ["console"], "propagate": False}}}},
}}
"""
    site.write(CONFIGURE, more=more, views=VIEWS, paths=PATHS)
    code = """
import logging
from django.conf import settings
from django.test import Client
Client(raise_request_exception=False).get("/fail")
logging.getLogger("django.request").warning("again %s", settings.PAYMENT)
"""
    printed = site.output(code=code, **ENVIRONMENT)
    assert "ERROR: Internal Server Error: /fail" in printed
    assert "no answer to [masked]" in printed
    assert "WARNING: again [masked]" in printed
    shows_nothing(printed)


def test_sessions_outlive_a_rotation_of_the_key(site: Site) -> None:
    keys = {"audit": "none", "backends": {"here": {"type": "memory"}}}
    configure = f"""
import strongroom
opened = strongroom.open({keys!r})
for number in range(int(__import__("os").environ["ROTATIONS"])):
    opened.set("key", f"a-key-for-tests-{{number}}")
strongroom_django.configure(opened)
SECRET_KEY, SECRET_KEY_FALLBACKS = secret("key"), secret_key_fallbacks("key")
"""
    site.write(configure)
    sign = "from django.core import signing; print('signed=' + signing.dumps({'user': 7}))"
    signed = site.output(code=sign, ROTATIONS="1").split("signed=")[1].strip()
    load = f"from django.core import signing; print(signing.loads({signed!r}))"
    assert "{'user': 7}" in site.output(code=load, ROTATIONS="2")
    assert "BadSignature" in site.manage(code=load, ROTATIONS="3").stderr


def test_a_check_asks_no_backend_unless_it_is_told_to(site: Site) -> None:
    broken = {"audit": "none", "backends": {"v": {"type": "plugin-that-is-not-there"}}}
    site.write(f"strongroom_django.configure({broken!r})", more="SECRET_KEY = 'x' * 60")
    assert "no issues" in site.output("check")
    assert "no issues" in site.output("check", "--tag", "strongroom")
    done = site.manage("check", "--tag", "strongroom", "--deploy")
    assert done.returncode == 1
    assert "strongroom.E00" in done.stderr


def test_a_check_before_a_deployment_is_silent_if_all_is_well(shop: Site) -> None:
    assert "no issues" in shop.output("check", "--tag", "strongroom", "--deploy", **ENVIRONMENT)


def test_a_check_warns_if_reports_are_not_masked(site: Site) -> None:
    more = f'{MORE}\nDEFAULT_EXCEPTION_REPORTER = "django.views.debug.ExceptionReporter"'
    site.write(CONFIGURE, more=more)
    done = site.manage("check", **ENVIRONMENT)
    assert done.returncode == 0
    assert "strongroom.W001" in done.stderr


def test_the_health_view_answers_without_a_name(shop: Site) -> None:
    status, body = fetch(shop, "/health")
    assert (status, json.loads(body)) == (200, {"status": "up"})


def test_the_health_view_of_what_cannot_be_opened_says_down(site: Site) -> None:
    site.write('strongroom_django.configure({"backends": {"b": {"type": "absent"}}})', more="SECRET_KEY = 'x' * 60")
    status, body = fetch(site, "/health")
    assert (status, json.loads(body)) == (503, {"status": "down"})


def test_the_health_view_takes_no_other_method_and_is_not_cached(shop: Site) -> None:
    code = """
from django.test import Client
print(Client().post("/health").status_code, Client().get("/health").headers["Cache-Control"])
"""
    printed = shop.output(code=code, **ENVIRONMENT)
    assert "405 " in printed
    assert "no-store" in printed


def test_the_health_view_works_under_asgi(shop: Site) -> None:
    code = """
import asyncio
from django.test import AsyncClient
print(asyncio.run(AsyncClient().get("/health")).json())
"""
    assert "{'status': 'up'}" in shop.output(code=code, **ENVIRONMENT)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a system that forks")
def test_a_forked_worker_reads_by_itself(shop: Site) -> None:
    code = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import strongroom_django
strongroom_django.manager().set("late", "in the parent")
child = os.fork()
if not child:
    print("child", strongroom_django.secret("late"), strongroom_django.secret("payment") is not None, flush=True)
    os._exit(0)
print("status", os.waitpid(child, 0)[1])
"""
    printed = shop.output(code=code, **ENVIRONMENT)
    assert "child in the parent True" in printed
    assert "status 0" in printed


def test_a_secret_that_is_not_there_stops_the_start_and_shows_nothing(site: Site) -> None:
    site.write(CONFIGURE, more=f'{MORE}\nABSENT = secret("absent")')
    done = site.manage("check", **ENVIRONMENT)
    assert done.returncode == 1
    assert "absent" in done.stderr
    shows_nothing(done.stdout + done.stderr)
