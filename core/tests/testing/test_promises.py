"""Each check says what is expected, why, and where the contract says so; a failure shows that."""

from __future__ import annotations

import re
import textwrap

from pathlib import Path

import pytest

import strongroom.testing

from kits import CHECKS, MODULES, promises_of
from strongroom import contracts, hookspecs
from strongroom.contracts import Backend, Rotator
from strongroom.testing.promises import CONTRACTS, promised_by

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]
KITS = [kit for name, kit in vars(strongroom.testing).items() if name.endswith("Contract")]
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

each_check = pytest.mark.parametrize("name", CHECKS)


def test_there_are_checks_of_each_kind() -> None:
    kinds = {name.partition(".")[0] for name in CHECKS}
    assert len(CHECKS) > 300
    assert {"ReadingChecks", "StateChecks", "StagingChecks", "RecoveryChecks", "EncryptingChecks"} < kinds
    assert {"CopyChecks", "AppendChecks", "SettlingChecks", "JournalLifeChecks", "PollingChecks"} < kinds
    assert {kit.__name__ for kit in KITS} - {"BackendContract"} <= kinds


def test_each_check_belongs_to_a_kit_that_authors_derive_from() -> None:
    offered = {id(getattr(kit, name)) for kit in KITS for name in dir(kit) if name.startswith("test_")}
    assert [name for name, check in CHECKS.items() if id(check) not in offered] == []


@each_check
def test_a_check_says_what_is_expected_and_why(name: str) -> None:
    promise = vars(CHECKS[name])["promise"]
    title = words(name.partition(".test_")[2])
    for sentence in (promise.expected, promise.why):
        assert sentence.endswith("."), f"{sentence!r} is no sentence"
        assert sentence[0].isupper() or sentence[0] == "`", f"{sentence!r} is no sentence"
        assert "\n" not in sentence
        assert len(words(sentence)) > 5, f"{sentence!r} says too little"
        assert words(sentence) != title, f"{sentence!r} is the check's name again"
    assert words(promise.expected) != words(promise.why)


@each_check
def test_a_check_names_the_contract_that_says_so(name: str) -> None:
    promise = vars(CHECKS[name])["promise"]
    kind, _, method = promise.contract.partition(".")
    found = getattr(contracts if promise.where.startswith(CONTRACTS) else hookspecs, kind)
    assert not method or isinstance(vars(found)[method], property) or callable(vars(found)[method])
    page, _, anchor = promise.where.partition("#")
    assert anchors(ROOT / page).count(anchor) == 1


def test_no_two_checks_of_a_kit_expect_the_same() -> None:
    for kit in KITS:
        expected = [vars(getattr(kit, name))["promise"].expected for name in dir(kit) if name.startswith("test_")]
        assert len(expected) == len(set(expected))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower().replace("_", " "))


def anchors(page: Path) -> list[str]:
    titles = HEADING.findall(page.read_text(encoding="utf-8"))
    return [re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_compared_values_of_a_failed_check_are_shown(module: object) -> None:
    source = Path(str(vars(module)["__file__"])).read_text(encoding="utf-8")
    rewritten = type(vars(module)["__loader__"]).__name__ == "AssertionRewritingHook"
    assert rewritten or not re.search(r"^\s+assert ", source, re.MULTILINE)


CACHE = """
    import pytest

    from strongroom.contracts import CachePolicy, Lifetime
    from strongroom.testing import CachePolicyContract

    class Policy(CachePolicy):
        def lifetime(self, request):
            {body}

    class TestPolicy(CachePolicyContract):
        @pytest.fixture
        def policy(self):
            return Policy()
"""
BACKEND = """
    import pytest

    from strongroom.builtin.memory import MemoryBackend
    from strongroom.contracts import Capability
    from strongroom.testing import BackendContract

    class Broken(MemoryBackend):
        {body}

    class TestBackend(BackendContract):
        capabilities = frozenset(Capability)

        @pytest.fixture
        def backend(self):
            return Broken()
"""
LEASING = """
    import time

    import pytest

    from strongroom.testing import CredentialMaker, LeasingContract

    class TestLeasing(LeasingContract):
        @pytest.fixture
        def backend(self):
            return CredentialMaker(time.monotonic, leased="{body}")

        @pytest.fixture
        def leased_name(self):
            return "creds/app"
"""
FAILURES = {
    "a comparison": (
        CACHE,
        "return Lifetime(fresh_until=request.now + 2, spared=99)",
        "test_eviction_spares_an_entry_up_to_three_times",
        ["*assert 99 <= 3*"],
    ),
    "an error of the author's code": (
        CACHE,
        "raise LookupError('by the author')",
        "test_stale_comes_after_fresh",
        ["*LookupError: by the author*"],
    ),
    "an end of the process": (CACHE, "raise SystemExit(3)", "test_stale_comes_after_fresh", ["*SystemExit: 3*"]),
    "a failure by pytest's own means": (
        CACHE,
        "pytest.fail('said by the author')",
        "test_stale_comes_after_fresh",
        ["*Failed: said by the author*"],
    ),
    "a failure without a traceback": (
        CACHE,
        "pytest.fail('said by the author', pytrace=False)",
        "test_stale_comes_after_fresh",
        ["said by the author"],
    ),
    "an error that was not raised": (
        BACKEND,
        "read_many = lambda self, request: request.names[0]",
        "test_a_batch_of_nothing_is_empty",
        ["*IndexError*"],
    ),
    "a child that never answers": (
        BACKEND,
        "def after_fork(self): import os; os._exit(0)",
        "test_a_forked_child_can_read",
        ["*died*content*"],
    ),
    "a leased name that is none": (LEASING, "other", "test_it_tells_which_names_are_leased", ["*is_leased*"]),
}


def explained(check: str, mark: str = "E *") -> list[str]:
    """Return what pytest prints of a failed check, as patterns."""
    (promise,) = promises_of(check)
    lines = [f"expected: {promise.expected}", f"why: {promise.why}", f"contract: {promise.contract}, {promise.where}"]
    return [mark + line.replace("[", "[[]") for line in lines]


@pytest.mark.parametrize("style", ["auto", "long", "short", "native"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_ends_with_its_explanation(pytester: pytest.Pytester, failure: str, style: str) -> None:
    module, body, check, expected = FAILURES[failure]
    printed = run(pytester, module.format(body=body), "-k", check, f"--tb={style}")
    mark = "" if "without a traceback" in failure or style == "native" else "E *"
    printed.stdout.fnmatch_lines([*expected, *explained(check, mark)])
    printed.stdout.no_fnmatch_line("*promises.py*" if style != "native" else "*no such line*")


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(test_kit=textwrap.dedent(source))
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments)


def test_an_author_sees_it_in_a_process_of_their_own(pytester: pytest.Pytester) -> None:
    module, body, check, expected = FAILURES["a comparison"]
    pytester.makepyfile(test_kit=textwrap.dedent(module.format(body=body)))
    printed = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-k", check)
    printed.stdout.fnmatch_lines([*expected, *explained(check), "* failed, *"])
    printed.stdout.no_fnmatch_line("*promises.py*")


OVERRIDDEN = (
    CACHE.format(body="return Lifetime(fresh_until=request.now + 2, spared=99)")
    + """
        def test_names_do_not_upset_it(self, policy):
            assert policy == "the author's own"

        def test_stale_comes_after_fresh(self, policy):
            pytest.skip("the author's own reason")

        def test_threads_get_the_same_answer(self, policy):
            super().test_eviction_spares_an_entry_up_to_three_times(policy, True)

        def test_of_the_author(self, policy):
            assert policy is None

        def test_of_the_author_that_passes(self, policy):
            assert policy

        test_times_are_numbers = None
"""
)


def test_checks_that_an_author_overrides_or_adds_are_theirs(pytester: pytest.Pytester) -> None:
    printed = run(pytester, OVERRIDDEN, "-rs", "-k", "of_the_author or names or stale")
    printed.assert_outcomes(passed=1, failed=2, skipped=1)
    printed.stdout.fnmatch_lines(["*the author's own reason*"])
    printed.stdout.no_fnmatch_line("*expected:*")


def test_a_check_that_an_overriding_one_calls_explains_itself_once(pytester: pytest.Pytester) -> None:
    printed = run(pytester, OVERRIDDEN, "-k", "threads")
    printed.stdout.fnmatch_lines(explained("test_eviction_spares_an_entry_up_to_three_times"))
    # On a machine that is said to be CI's, pytest repeats it in its summary.
    assert printed.stdout.str().count("E       expected:") == 1


def test_an_error_that_is_raised_in_several_checks_has_the_last_ones_explanation() -> None:
    error = LookupError("always the same")
    error.add_note("by the author")

    @promised_by(Backend.read)
    def first() -> None:
        """It is the first.

        So it comes first.
        """
        raise error

    @promised_by(Rotator)
    def second() -> None:
        """It is the second.

        So it comes second.
        """
        first()

    for check in (first, second, first, second):
        with pytest.raises(LookupError):
            check()
    assert error.__notes__ == [
        "by the author",
        f"expected: It is the second.\nwhy: So it comes second.\ncontract: Rotator, {CONTRACTS}#rotator",
    ]


def test_an_error_that_takes_no_attributes_is_explained() -> None:
    class FrozenError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    @promised_by(Backend.read)
    def check() -> None:
        """It is a check.

        So it checks.
        """
        raise FrozenError

    with pytest.raises(FrozenError) as caught:
        check()
    assert caught.value.__notes__[0].startswith("expected: It is a check.")


FORGOTTEN = {
    "BackendContract": ("test_closing_twice_is_no_error", "the fixture `backend`"),
    "CachePolicyContract": ("test_stale_comes_after_fresh", "the fixture `policy`"),
    "AuditSinkContract": ("test_closing_twice_is_no_error", "the fixture `sink`"),
    "AnomalyDetectorContract": ("test_closing_twice_is_no_error", "the fixture `detector`"),
    "LeasingContract": ("test_revoking_twice_is_no_error", "the fixture `backend`"),
    "RotatorContract": ("test_closing_twice_is_no_error", "the fixture `rotator`"),
    "PluginContract": ("test_the_module_implements_a_hook", "the attribute `module`"),
}


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.__name__)
def test_what_an_author_has_forgotten_is_asked_for_in_a_sentence(pytester: pytest.Pytester, kit: type) -> None:
    check, forgotten = FORGOTTEN[kit.__name__]
    source = f"from strongroom.testing import {kit.__name__}\n\nclass TestForgotten({kit.__name__}):\n    pass\n"
    printed = run(pytester, source, "-k", check)
    printed.stdout.fnmatch_lines([f"TestForgotten must override {forgotten}*: it *."])
    printed.stdout.no_fnmatch_line("*Traceback*")
    printed.stdout.no_fnmatch_line("*self = *")


def test_a_module_that_cannot_be_imported_is_explained(pytester: pytest.Pytester) -> None:
    source = """
        from strongroom.testing import PluginContract

        class TestPlugin(PluginContract):
            module = "no_such_module_of_acme"
    """
    printed = run(pytester, source, "-k", "implements_a_hook")
    printed.stdout.fnmatch_lines(["E *No module named*", "E *expected: *", "E *why: *", "E *contract: hookimpl, docs*"])


def test_what_does_not_apply_is_left_out_with_a_reason(pytester: pytest.Pytester) -> None:
    source = BACKEND.format(body="journal = None").replace("frozenset(Capability)", "frozenset({Capability.WRITE})")
    printed = run(pytester, source, "-rs", "-k", "unknown_version or writing_without")
    printed.stdout.fnmatch_lines_random(
        [
            "SKIPPED *the backend does not declare VERSIONS",
            "SKIPPED *the backend declares WRITE, and this is about backends that do not",
        ]
    )
    printed.stdout.no_fnmatch_line("*expected:*")
