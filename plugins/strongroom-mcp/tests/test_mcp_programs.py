"""Actions that run programs: what they get, and what of a value can come out of them."""

from __future__ import annotations

import errno
import os
import signal
import sys

from pathlib import Path

import anyio
import pytest

from mcp import Client

from mcpsites import PLAIN, SECRETS, TOKEN, VALUE, action, is_running, python, shell, site, text_of, wait_until
from strongroom_mcp.programs import why
from strongroom_mcp.settings import ParameterSettings

RAW = VALUE.encode()


def test_the_secret_reaches_the_program_and_not_the_model(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with site(tmp_path, show=shell(f'printf %s "$TOKEN" > {kept}; echo "it is $TOKEN."')) as one:
        assert one.text("show") == "exit status 0\nit is [masked].\n"
    assert kept.read_bytes() == RAW


# What a program could print of the value that it has; `value` is its text, `raw` its bytes.
FORMS = {
    "base64": "base64.b64encode(raw).decode()",
    "base64 after one byte": "base64.b64encode(b'x' + raw).decode()",
    "base64 after two bytes": "base64.b64encode(b'xy' + raw + b'z').decode()",
    "base64 for addresses": "base64.urlsafe_b64encode(raw).decode().rstrip('=')",
    "base64 in lines": "base64.encodebytes(b'user:' + raw * 5).decode()",
    "hexadecimal": "raw.hex()",
    "hexadecimal in capitals": "raw.hex().upper()",
    "percent-encoded": "urllib.parse.quote(value, safe='')",
    "as a form": "urllib.parse.urlencode({'v': value})",
    "every byte percent-encoded": "''.join(f'%{byte:02x}' for byte in raw)",
    "JSON": "json.dumps(value)",
    "JSON in JSON": "json.dumps(json.dumps(value))",
    "every character escaped": "''.join(f'\\\\u{ord(one):04x}' for one in value)",
    "HTML": "html.escape(value)",
    "repr": "repr(value)",
}


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_the_value_comes_out(tmp_path: Path, form: str, stream: str) -> None:
    script = (
        "import base64, html, json, os, sys, urllib.parse\n"
        "raw = os.environb[b'TOKEN']; value = raw.decode()\n"
        f"made = {FORMS[form]}\n"
        f"print('before', made, 'after', file=sys.{stream})"
    )
    with site(tmp_path, show=python(script)) as one:
        text = one.text("show")
    assert "before" in text
    assert "after" in text
    assert "[masked]" in text
    made = eval(
        FORMS[form],
        {
            "raw": RAW,
            "value": VALUE,
            **{name: __import__(name) for name in ("base64", "json", "html", "urllib.parse")},
            "urllib": __import__("urllib.parse"),
        },
    )  # noqa: S307  # its own text
    assert made not in text


def test_a_value_that_arrives_byte_by_byte_is_masked(tmp_path: Path) -> None:
    script = "import os\nfor byte in os.environb[b'TOKEN']: os.write(1, bytes([byte]))"
    with site(tmp_path, show=python(script)) as one:
        assert one.text("show") == "exit status 0\n[masked]"


def test_what_the_program_computes_of_a_value_is_not_caught(tmp_path: Path) -> None:
    """A limit that the documentation states: a program that wants to tell can tell."""
    with site(tmp_path, show=python("import os; print(os.environ['TOKEN'][::-1])")) as one:
        assert VALUE[::-1] in one.text("show")


def test_the_cut_falls_into_no_value(tmp_path: Path) -> None:
    script = "import os, sys\nsys.stdout.write('x' * 90 + os.environ['TOKEN'] + 'y' * 3_000_000)"
    with site(tmp_path, show=python(script, max_output=100)) as one:
        text = one.text("show")
    assert text == f"exit status 0\n{'x' * 90}[masked]yy\n[cut]"


def test_what_a_program_had_said_before_its_time_was_up_is_dropped(tmp_path: Path) -> None:
    half = len(VALUE) // 2
    script = f"import os, time\nprint(os.environ['TOKEN'][:{half}], flush=True)\ntime.sleep(600)"
    with site(tmp_path, show=python(script, timeout=0.5)) as one:
        result = one.call("show")
    assert result.is_error
    assert text_of(result) == "the action took too long, and was ended; what it had done by then is done"


def test_values_of_earlier_calls_stay_masked(tmp_path: Path) -> None:
    echo = shell('echo "$1"', "word", environment={})
    with site(tmp_path, first=shell("true"), echo=echo) as one:
        assert VALUE in one.text("echo", {"word": VALUE})  # nobody has used it yet: it is the model's own word
        one.call("first")
        assert one.text("echo", {"word": VALUE}) == "exit status 0\n[masked]\n"


def test_a_value_is_masked_however_many_others_a_call_uses_or_have_been_used(tmp_path: Path) -> None:
    every = shell("true", environment={"TOKEN": TOKEN, "MANY": "strongroom://db/many"})
    with site(tmp_path, every=every, echo=shell('echo "$1"', "word", environment={})) as one:
        one.call("every")
        for word in (VALUE, "member-00000", "member-01999"):
            assert one.text("echo", {"word": word}) == "exit status 0\n[masked]\n"


def test_members_of_a_value_that_is_json_are_masked_by_themselves(tmp_path: Path) -> None:
    script = (
        "import json, os\nfound = json.loads(os.environ['ALL'])\nprint(found['keys'][0], found['port'], found['user'])"
    )
    with site(tmp_path, show=python(script, environment={"ALL": "strongroom://db/json"})) as one:
        assert one.text("show") == "exit status 0\n[masked] 5432 app\n"


def test_a_secret_of_another_call_is_masked_that_was_read_meanwhile(tmp_path: Path) -> None:
    async def script(client: Client) -> str:
        answers: list[str] = []

        async def call() -> None:
            answers.append(text_of(await client.call_tool("slow", {})))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while not (tmp_path / "begun").exists():
                await anyio.sleep(0.01)
            await client.call_tool("other", {})
        return answers[0]

    slow = shell(f"touch {tmp_path}/begun; until [ -e {tmp_path}/kept ]; do sleep 0.01; done; cat {tmp_path}/kept")
    other = shell(f'echo "$OTHER" > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/kept', environment={"OTHER": PLAIN})
    with site(tmp_path, slow=slow, other=other) as one:
        assert one.session(script) == "exit status 0\n[masked]\n"


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    script = "import os\nos.write(1, b'a\\xff\\xfe\\x1b[2Jb\\x00c\\xe2\\x80\\xae' + os.environb[b'TOKEN'] + b'\\xc3')"
    with site(tmp_path, show=python(script)) as one:
        assert one.text("show") == "exit status 0\na\ufffd\ufffd\ufffd[2Jb\ufffdc\ufffd[masked]\ufffd"


def test_the_program_gets_nothing_of_the_server_s_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_ONLY", "not for programs")
    monkeypatch.setenv("ALLOWED", "for programs")
    script = "import os; print(sorted(os.environ), os.environ['ALLOWED'], os.getcwd())"
    with site(tmp_path, show=python(script, pass_environment=("ALLOWED",), folder=str(tmp_path))) as one:
        text = one.text("show")
    assert "'ALLOWED', 'LANG', 'LC_CTYPE', 'PATH', 'TOKEN'" in text or "'ALLOWED', 'LANG', 'PATH', 'TOKEN'" in text
    assert f"for programs {tmp_path}" in text


def test_the_value_is_no_argument_that_other_users_could_read(tmp_path: Path) -> None:
    script = "print(open('/proc/self/cmdline').read().replace(chr(0), ' '))"
    with site(tmp_path, show=python(script)) as one:
        assert "[masked]" not in one.text("show")


def test_a_file_in_memory_holds_exact_bytes_and_is_gone_with_the_program(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    settings = shell(f'cat "$KEY" > {kept}; echo "$KEY"', environment={}, files={"KEY": "strongroom://db/raw"})
    before = len(os.listdir("/proc/self/fd"))
    with site(tmp_path, show=settings) as one:
        assert one.text("show").startswith("exit status 0\n/proc/self/fd/")
    assert kept.read_bytes() == SECRETS["db/raw"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_field_is_filled_in_within_other_text(tmp_path: Path) -> None:
    settings = shell('echo "$URL"', environment={"URL": f"db://user:${{{PLAIN}}}@host/"})
    with site(tmp_path, show=settings) as one:
        assert one.text("show") == "exit status 0\ndb://user:[masked]@host/\n"


def test_a_reference_that_the_model_writes_has_no_meaning(tmp_path: Path) -> None:
    settings = shell('echo "$1"', "word", environment={})
    for word in (f"${{{TOKEN}}}", TOKEN, "{word}", "{{ token }}", "$(id)", "`id`", "a;id", "a'b\"c"):
        with site(tmp_path, show=settings) as one:
            assert one.text("show", {"word": word}) == f"exit status 0\n{word}\n"
            assert one.reads() == []


def test_an_argument_cannot_become_an_option(tmp_path: Path) -> None:
    with site(tmp_path, show=shell('echo "$1"', "word")) as one:
        for word in ("-n", "--help", "-"):
            result = one.call("show", {"word": word})
            assert (result.is_error, text_of(result)) == (True, "word begins with a dash, as options do")
        assert one.reads() == []


def test_a_dash_is_let_through_where_the_operator_says_so(tmp_path: Path) -> None:
    parameters = {
        "word": ParameterSettings(leading_dash=True),
        "loud": ParameterSettings(type="boolean", flag="--loud", default=False),
    }
    with site(tmp_path, show=shell('echo "$@"', "word", "loud", parameters=parameters)) as one:
        assert one.text("show", {"word": "-x"}) == "exit status 0\n-x\n"
        assert one.text("show", {"word": "-x", "loud": True}) == "exit status 0\n-x --loud\n"


def test_a_program_that_fails_or_is_missing_tells_no_value(tmp_path: Path) -> None:
    failing = shell('echo "no: $TOKEN" >&2; exit 3')
    killed = shell("kill -9 $$")
    with site(tmp_path, failing=failing, killed=killed, missing=action(command=("/no/such/program",))) as one:
        result = one.call("failing")
        assert (result.is_error, text_of(result)) == (True, "exit status 3\nstandard error:\nno: [masked]\n")
        assert one.text("killed") == "ended by a signal"
        assert one.text("missing") == "the program of the action cannot be started"


def test_a_value_that_is_no_text_does_not_become_a_variable(tmp_path: Path) -> None:
    with site(tmp_path, show=shell("env", environment={"TOKEN": "strongroom://db/raw"})) as one:
        assert one.text("show") == "a secret that the action needs is not text"


def test_a_secret_that_is_missing_is_told_by_its_kind_only(tmp_path: Path) -> None:
    with site(tmp_path, show=shell("env", environment={"TOKEN": "strongroom://db/gone"})) as one:
        assert one.text("show") == "the action was stopped: a secret that it needs cannot be read (not_found)"


def test_children_that_go_on_end_with_the_program(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    with site(tmp_path, show=shell(f"sleep 600 & echo $! > {number}; echo done")) as one:
        assert one.text("show") == "exit status 0\ndone\n"
    wait_until(lambda: not is_running(int(number.read_text())))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_call_that_the_client_gives_up_ends_its_program(tmp_path: Path, mode: str) -> None:
    number = tmp_path / "pid"

    async def give_up(client: Client) -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "show", {})
                while not number.exists() or not number.read_text().endswith("\n"):
                    await anyio.sleep(0.01)
                scope.cancel()
        while is_running(int(number.read_text())):
            await anyio.sleep(0.01)

    with site(tmp_path, show=shell(f"echo $$ > {number}; exec sleep 600", timeout=900)) as one:
        one.session(give_up, mode=mode)


def test_who_leaves_the_group_cannot_keep_the_call_from_ending(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    script = (
        "import os, sys, time\n"
        "if os.fork():\n"
        "    while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "    print('done')\n"
        "else:\n"
        "    os.setsid()\n"
        "    open(sys.argv[1] + '.new', 'w').write(str(os.getpid()))\n"
        "    os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "    time.sleep(600)"
    )
    show = action(command=(sys.executable, "-I", "-c", script, str(number)))
    with site(tmp_path, show=show) as one:
        assert one.text("show") == "exit status 0\ndone\n"
    os.kill(int(number.read_text()), signal.SIGKILL)


def test_an_output_that_is_cut_holds_no_part_of_a_value_that_another_call_uses_meanwhile(tmp_path: Path) -> None:
    go_on = tmp_path / "go on"

    async def script(client: Client) -> str:
        answers: list[str] = []

        async def call() -> None:
            answers.append(text_of(await client.call_tool("show", {})))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while not (tmp_path / "begun").exists():
                await anyio.sleep(0.01)
            await client.call_tool("other", {})
            go_on.touch()
        await call()
        return "\n".join(answers)

    (tmp_path / "kept").write_text(VALUE)
    told = f'touch "{tmp_path}/begun"; until [ -e "{go_on}" ]; do sleep 0.01; done; cat "{tmp_path}/kept"'
    show = shell(told, environment={}, max_output=len(RAW) - 4)
    with site(tmp_path, show=show, other=shell("true")) as one:
        answers = one.session(script)
    assert answers == "the action was done; its output was cut, and was dropped\nexit status 0\n[masked]"


STARTS = {
    "no such program": ("/no/such/program", "/", "/no/such/program: No such file or directory"),
    "no right to run it": ("/etc/passwd", "/", "/etc/passwd: Permission denied"),
    "no program": ("{folder}/text", "/", "{folder}/text: Exec format error"),
    "no such folder": ("/bin/true", "{folder}/gone", "the folder {folder}/gone: No such file or directory"),
}


@pytest.mark.parametrize("what", STARTS)
def test_the_log_alone_says_why_a_program_cannot_be_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o700)
    program, folder, said = (text.format(folder=tmp_path) for text in STARTS[what])
    with site(tmp_path, show=action(command=(program,), folder=folder, environment={"TOKEN": TOKEN})) as one:
        assert one.text("show") == "the program of the action cannot be started"
    assert f"the program of an action cannot be started: {said}" in caplog.messages
    assert VALUE not in caplog.text


def test_the_log_blames_the_folder_that_may_not_be_entered(tmp_path: Path) -> None:
    # Root may enter any folder, so the error is made as Python makes it: with the name of what was refused.
    folder, program = str(tmp_path), "/bin/true"
    told = {name: why(PermissionError(errno.EACCES, "", name), program, folder) for name in (folder, program)}
    assert told == {folder: f"the folder {folder}: Permission denied", program: "/bin/true: Permission denied"}


def test_the_log_does_not_say_what_a_program_would_have_been_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    word = "x" * 200_000
    parameters = {"word": ParameterSettings(max_length=len(word))}
    with site(tmp_path, show=shell("true", "word", parameters=parameters)) as one:
        assert one.text("show", {"word": word}) == "the program of the action cannot be started"
    assert "the program of an action cannot be started: /bin/sh: Argument list too long" in caplog.messages
    assert "xxx" not in caplog.text
