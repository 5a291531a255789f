"""Tests whose output holds a value fail, and their reports do not hold it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

SEED = '@pytest.mark.strongroom_secrets({"db/password": "hun" + "ter2-sword"})\n'
# The source must not hold the value: pytest shows the source of a test that fails.
VALUE = "hunter2-sword"
HEAD = SEED + "def test_it(strongroom_manager"
READ = '    value = strongroom_manager.get("db/password").value.reveal_text()\n'


def failed_with(result: pytest.RunResult, *places: str, when: str = "failed") -> None:
    """Check that one test failed, that its report says where the value was, and that nothing shows the value."""
    text = result.stdout.str() + result.stderr.str()
    assert result.parseoutcomes().get(when) == 1, text
    assert [line.strip() for line in text.splitlines() if line.strip() in places] == list(places), text
    assert VALUE not in text


WAYS = {
    "print": ("print(value)", "stdout (call): db/password"),
    "standard error": ("print(value, file=sys.stderr)", "stderr (call): db/password"),
    "a descriptor": ("os.write(1, value.encode())", "stdout (call): db/password"),
    "a program": ("subprocess.run(['echo', value], check=True)", "stdout (call): db/password"),
    "hexadecimal": ("print(value.encode().hex())", "stdout (call): db/password"),
    "base64": ("import base64; print(base64.b64encode(b'xy' + value.encode()))", "stdout (call): db/password"),
    "log": ("logging.getLogger('shop.db').warning('as %s', value)", "the log of shop.db: db/password"),
    "log arguments": ("logging.warning('nothing', {'password': value})", "the log of root: db/password"),
    "log extra": ("logging.warning('nothing', extra={'password': value})", "the log of root: db/password"),
    "warning": ("warnings.warn('as ' + value)", "a warning: db/password"),
    "property": ("request.node.user_properties.append(('login', value))", "its property login: db/password"),
    "property's name": ("request.node.user_properties.append((value, 1))", "its property [masked]: db/password"),
}


@pytest.mark.parametrize(("line", "place"), WAYS.values(), ids=WAYS.keys())
def test_a_value_in_the_output_fails_the_test(run: Run, pytester: pytest.Pytester, line: str, place: str) -> None:
    result = run(
        f"{HEAD}, request):\n{READ}    {line}\n", "-rA", "--junitxml=report.xml", "-v", apart="os.write" in line
    )
    failed_with(result, place)
    assert VALUE not in (pytester.path / "report.xml").read_text()


def test_an_error_that_is_logged_is_looked_through(run: Run) -> None:
    body = "    try:\n        int(value)\n    except ValueError:\n        logging.getLogger('shop').exception('no')\n"
    failed_with(run(f"{HEAD}):\n{READ}{body}"), "the log of shop: db/password")


@pytest.mark.parametrize("capture", ["fd", "sys", "tee-sys"])
def test_output_is_found_however_it_is_captured(run: Run, capture: str) -> None:
    result = run(f"{HEAD}):\n{READ}    print(value)\n", f"--capture={capture}", apart=True)
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*stdout (call): db/password"])


def test_output_that_is_not_captured_is_found(run: Run) -> None:
    result = run(f"{HEAD}):\n{READ}    print(value)\n    print(value, file=sys.stderr)\n", "-s", apart=True)
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*stderr: db/password", "*stdout: db/password"])


@pytest.mark.parametrize("fixture", ["capsys", "capfd", "capsysbinary"])
def test_output_that_the_test_reads_itself_is_found(run: Run, fixture: str) -> None:
    result = run(f"{HEAD}, {fixture}):\n{READ}    print(value)\n    assert {fixture}.readouterr().out\n")
    failed_with(result, "stdout: db/password")


@pytest.mark.parametrize("fixture", ["capsys", "capfd"])
def test_output_past_a_capturing_fixture_is_found(run: Run, fixture: str) -> None:
    body = f"    with {fixture}.disabled():\n        print(value)\n    print('ok')\n"
    result = run(f"{HEAD}, {fixture}):\n{READ}{body}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stdout: db/password"])


def test_output_that_a_capturing_fixture_keeps_to_the_end_is_found(run: Run) -> None:
    result = run(f"{HEAD}, capsys):\n{READ}    print(value)\n")
    failed_with(result, "stdout (call): db/password")


def test_without_the_logging_plugin_the_log_is_looked_through(run: Run) -> None:
    result = run(f"{HEAD}):\n{READ}    logging.getLogger('shop').error(value)\n", "-p", "no:logging", apart=True)
    text = result.stdout.str()
    assert "the log of shop: db/password" in text
    assert result.parseoutcomes()["failed"] == 1
    assert VALUE not in text


def test_the_report_of_a_failure_is_masked(run: Run) -> None:
    result = run(f"{HEAD}):\n{READ}    assert value == 'another'\n", "--showlocals", "-rA")
    failed_with(result, "its failure's report: db/password")
    assert "[masked]" in result.stdout.str()


def test_an_exception_that_holds_a_value_is_masked(run: Run) -> None:
    failed_with(run(f"{HEAD}):\n{READ}    raise OSError(value)\n"), "its failure's report: db/password")


@pytest.mark.parametrize("line", ["pytest.skip(value)", "pytest.xfail(value)"])
def test_a_reason_that_holds_a_value_fails_the_test(run: Run, line: str) -> None:
    failed_with(run(f"{HEAD}):\n{READ}    {line}\n", "-rA"), "its failure's report: db/password")


@pytest.mark.parametrize("body", ["assert False", "pass"])
def test_a_reason_for_an_expected_failure_must_not_hold_a_value(run: Run, body: str) -> None:
    mark = '@pytest.mark.xfail(reason="because of hun" + "ter2-sword")\n'
    failed_with(run(f"{mark}{HEAD}):\n    {body}\n", "-rA", "-v"), "its failure's report: db/password")


LONG = '"hun" + "".join(chr(97 + i % 26) for i in range(7, 400, 3)) + "sword"'
COMPARED = [
    "value == ''",
    "value == 'hunter'",
    "value[:30] == ''",
    "value == value[:-3] + 'ing'",
    "{'a': value} == {}",
    "[value] == [1]",
    "not value",
]


@pytest.mark.parametrize("style", ["long", "short", "line", "native", "auto"])
@pytest.mark.parametrize("compared", COMPARED)
def test_a_value_that_pytest_shortens_is_masked(run: Run, compared: str, style: str) -> None:
    seed = f'@pytest.mark.strongroom_secrets({{"db/password": {LONG}}})\n'
    source = f"{seed}def test_it(strongroom_manager):\n{READ}    assert {compared}\n"
    result = run(source, f"--tb={style}", "--showlocals")
    text = result.stdout.str()
    result.assert_outcomes(failed=1)
    value = "hun" + "".join(chr(97 + i % 26) for i in range(7, 400, 3)) + "sword"
    assert "[masked]" in text
    assert not any(value[start : start + 8] in text for start in range(len(value) - 7))


@pytest.mark.parametrize("statement", ["raise RuntimeError(value)", "assert value == ''", "assert not value, value"])
def test_a_value_of_several_short_lines_is_masked(run: Run, pytester: pytest.Pytester, statement: str) -> None:
    seed = '@pytest.mark.strongroom_secrets({"db/password": "hu" + "nter\\n2-" + "sword\\nx" + "yzw"})\n'
    source = f"{seed}def test_it(strongroom_manager):\n{READ}    {statement}\n"
    text = run(source, "-rA", "--junitxml=report.xml").stdout.str() + (pytester.path / "report.xml").read_text()
    assert "[masked]" in text
    assert not any(line in text for line in ("hunter", "2-sword", "xyzw"))


def test_the_name_of_a_subtest_must_not_hold_a_value(run: Run) -> None:
    source = """
class TestShop(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def given(self, strongroom_manager):
        self.value = strongroom_manager.get("db/password").value.reveal_text()

    def test_it(self):
        with self.subTest(self.value, value=self.value):
            pass
"""
    result = run(f"import unittest\n{SEED}{source}", "-rA", "-v")
    text = result.stdout.str()
    # Those of older versions know no subtests, and show no name.
    assert result.parseoutcomes().get("failed") == 1 or "SUB" not in text, text
    assert VALUE not in text


def test_a_test_that_is_expected_to_fail_must_not_show_a_value_either(run: Run) -> None:
    result = run(f"@pytest.mark.xfail\n{HEAD}):\n{READ}    print(value)\n    assert False\n")
    failed_with(result, "stdout (call): db/password")


def test_its_own_name_must_not_hold_a_value(run: Run) -> None:
    result = run(
        f"@pytest.mark.parametrize('word', ['{VALUE}'])\n"
        "def test_it(strongroom_leaks, word):\n    strongroom_leaks.watch(word, 'word')\n"
    )
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["  its own name: word"])


OTHERS = {
    "set": '    value = "-".join(["hunter2", "sword"])\n    strongroom_manager.set("new/one", value)\n',
    "superseded": '    value = "-".join(["hunter2", "sword"])\n    strongroom_manager.set("new/one", value)\n'
    '    strongroom_manager.set("new/one", "another one")\n',
    "watched": '    value = "-".join(["hunter2", "sword"])\n    strongroom_leaks.watch(value, "new/one")\n',
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS.keys())
def test_values_that_came_later_are_looked_for(run: Run, body: str) -> None:
    result = run(f"def test_it(strongroom_manager, strongroom_leaks):\n    early = 1\n{body}    print(value)\n")
    failed_with(result, "stdout (call): new/one")


def test_generated_values_are_looked_for(run: Run) -> None:
    result = run(
        f'{HEAD}):\n    strongroom_manager.rotate("db/password")\n'
        '    print(strongroom_manager.get("db/password").value.reveal().hex())\n'
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  stdout (call): db/password", "*Captured stdout call*", "[[]masked[]]"])


def test_values_of_the_configuration_are_looked_for(run: Run) -> None:
    body = "    import strongroom\n    with strongroom.open() as manager:\n"
    body += '        print(manager.get("db/password").value.reveal_text())\n'
    failed_with(run(f"{SEED}def test_it(strongroom_config):\n{body}"), "stdout (call): db/password")


@pytest.mark.parametrize(
    ("where", "when", "place"),
    [
        ("    print(value)\n    yield\n", "failed", "stdout (setup): db/password"),
        ("    yield\n    print(value)\n", "errors", "stdout (teardown): db/password"),
        ("    print(value)\n    raise OSError\n    yield\n", "errors", "stdout (setup): db/password"),
        ("    yield\n    logging.error(value)\n", "errors", "the log of root: db/password"),
    ],
    ids=["setup", "teardown", "failing setup", "log of the teardown"],
)
def test_output_of_fixtures_is_found_and_told_once(run: Run, where: str, when: str, place: str) -> None:
    fixture = f"@pytest.fixture\ndef user(strongroom_manager):\n{READ}{where}\n"
    result = run(f"{fixture}{SEED}def test_it(user):\n    pass\n")
    failed_with(result, place, when=when)


def test_what_shows_no_value_passes(run: Run) -> None:
    body = f'{READ}    print(strongroom_manager, strongroom_manager.get("db/password"))\n    logging.error("hunter2")\n'
    run(f"{HEAD}):\n{body}").assert_outcomes(passed=1)


def test_nothing_lasts_beyond_the_test(run: Run) -> None:
    later = "def test_later():\n    print('-'.join(['hunter2', 'sword']))\n"
    later += "    assert type(sys.stdout).__module__ != 'strongroom_pytest.listening'\n"
    later += "    assert not [one for one in logging.getLogger().handlers if 'strongroom' in type(one).__module__]\n"
    later += "    assert 'strongroom' not in warnings.showwarning.__module__\n"
    for capture in ("fd", "no"):
        run(f"{HEAD}):\n    pass\n{later}", f"--capture={capture}", apart=True).assert_outcomes(passed=2)


def test_a_marker_allows_it(run: Run) -> None:
    run(f"@pytest.mark.strongroom_allow_leaks\n{HEAD}):\n{READ}    print(value)\n").assert_outcomes(passed=1)


def test_a_setting_switches_it_off(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nstrongroom_leaks = false\n")
    run(f"{HEAD}):\n{READ}    print(value)\n").assert_outcomes(passed=1)


def test_it_works_in_several_processes(run: Run) -> None:
    later = "".join(f"def test_{turn}():\n    pass\n" for turn in range(3))
    result = run(
        f"{HEAD}):\n{READ}    print(value)\n    warnings.warn(value)\n{later}",
        "-n",
        "2",
        "-rA",
        apart=True,
        as_installed=True,
    )
    failed_with(result, "a warning: db/password", "stdout (call): db/password")
    assert result.parseoutcomes()["passed"] == 3


def test_it_works_in_unittest_classes(run: Run) -> None:
    result = run(
        "import unittest\n\nclass TestIt(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n"
        "    def manager(self, strongroom_manager):\n        self.manager = strongroom_manager\n"
        f"    {SEED}"
        "    def test_it(self):\n        print(self.manager.get('db/password').value.reveal_text())\n"
    )
    failed_with(result, "stdout (call): db/password")


def test_it_works_with_subtests_and_groups_of_exceptions(run: Run) -> None:
    result = run(
        "import unittest\n\nclass TestIt(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n"
        "    def manager(self, strongroom_manager):\n        self.manager = strongroom_manager\n"
        f"    {SEED}"
        "    def test_it(self):\n"
        "        value = self.manager.get('db/password').value.reveal_text()\n"
        "        with self.subTest('first'):\n            print(value)\n"
        "        with self.subTest('second'):\n            raise ExceptionGroup('several', [OSError(value)])\n",
        "-rA",
    )
    # How many reports there are depends on pytest's version.
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "stdout (call): db/password" in result.stdout.str()
    assert VALUE not in result.stdout.str()


def test_it_works_with_plugins_that_judge_a_report_before_it_is_logged(run: Run, pytester: pytest.Pytester) -> None:
    """As those do that repeat failed tests, and those that run each in a process of its own."""
    pytester.makeconftest(
        "from pathlib import Path\n"
        "from _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    for report in runtestprotocol(item, nextitem=nextitem, log=False):\n"
        "        Path(f'{report.when}.txt').write_text(f'{report.outcome} {report.capstdout}')\n"
        "        item.ihook.pytest_runtest_logreport(report=report)\n"
        "    return True\n"
    )
    failed_with(run(f"{HEAD}):\n{READ}    print(value)\n"), "stdout (call): db/password")
    assert (pytester.path / "call.txt").read_text() == "failed [masked]\n"


def test_what_a_plugin_adds_to_a_report_on_its_way_is_found(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "import pytest\n"
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
        "def pytest_runtest_makereport(item, call):\n"
        "    report = yield\n"
        f"    report.sections.append(('Page', '-'.join({VALUE.split('-')})))\n"
        "    return report\n"
    )
    failed_with(run(f"{HEAD}):\n    pass\n", "-rA"), "Page: db/password")


def test_it_works_with_parameters(run: Run) -> None:
    source = f"@pytest.mark.parametrize('shown', [True, False])\n{HEAD}, shown):\n{READ}"
    result = run(f"{source}    print(value if shown else 'nothing')\n")
    failed_with(result, "stdout (call): db/password")
    assert result.parseoutcomes()["passed"] == 1


def test_a_test_can_search_other_output_itself(run: Run) -> None:
    body = f"{READ}    assert strongroom_leaks.names_in(f'<{{value}}>') == ['db/password']\n"
    body += "    assert strongroom_leaks.names_in(b'nothing') == []\n    assert value not in repr(strongroom_leaks)\n"
    run(f"{HEAD}, strongroom_leaks):\n{body}").assert_outcomes(passed=1)


def test_tests_without_the_fixtures_load_nothing_of_it(run: Run) -> None:
    body = "def test_it():\n    assert 'strongroom' not in sys.modules\n"
    run(body, apart=True, as_installed=True).assert_outcomes(passed=1)
