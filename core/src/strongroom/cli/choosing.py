"""The decision tree of ``choose``: which questions there are, and the configuration that the answers lead to."""

from __future__ import annotations

import re

from collections.abc import Callable, Mapping
from typing import Final

from strongroom._record import Record
from strongroom.cli.command import UsageError
from strongroom.cli.init import HEADING, LOCAL, REST

YES: Final = "yes"
NO: Final = "no"
_SWITCH: Final = (YES, NO)
_SPELLINGS: Final = {"y": YES, "true": YES, "n": NO, "false": NO}

Answers = Mapping[str, str]


class Question(Record):
    """One question; which ones are asked depends on the answers before it."""

    key: str
    """What it is called in ``--answers``."""
    text: str
    choices: tuple[str, ...] = ()
    """The answers there are; none for any text."""
    default: str = ""
    """The answer if there is none; empty where one has to be given."""
    form: str = ""
    """What a text looks like, as a regular expression."""
    example: str = ""
    needed: Callable[[Answers], bool] = lambda _: True
    """Whether it is to be asked, after those before it."""

    def check(self, given: str) -> str:
        """Return an answer as it counts.

        Args:
            given: What was answered.

        Raises:
            UsageError: It is none.
        """
        answer = given.strip() or self.default
        if self.choices:
            answer = answer.lower()
            answer = answer if answer in self.choices else _SPELLINGS.get(answer, answer)
        # What cannot be printed cannot stand in the configuration either.
        if answer in self.choices or (not self.choices and answer.isprintable() and re.fullmatch(self.form, answer)):
            return answer
        wanted = f"one of {', '.join(self.choices)}" if self.choices else f"something like {self.example}"
        raise UsageError(f"there is no usable answer to {self.key!r}", hint=f"give {wanted}: {self.text}")


def _uses_vault(answers: Answers) -> bool:
    return answers["vault"] == YES and (answers.get("keep", "vault") == "vault" or answers["dynamic"] == YES)


def _uses_aws(answers: Answers) -> bool:
    return answers["aws"] == YES and answers.get("keep", "aws") == "aws"


QUESTIONS: Final = (
    Question(
        key="aws",
        text="Do the programs run on AWS, or are the secrets in AWS Secrets Manager?",
        choices=_SWITCH,
        default=NO,
    ),
    Question(key="vault", text="Is a HashiCorp Vault or an OpenBao at hand?", choices=_SWITCH, default=NO),
    Question(
        key="keep",
        text="Which of the two is to keep the secrets that last?",
        choices=("vault", "aws"),
        default="vault",
        needed=lambda answers: answers["aws"] == answers["vault"] == YES,
    ),
    Question(
        key="dynamic",
        text="Are credentials to be made on demand, such as a user of a database for an hour?",
        choices=_SWITCH,
        default=NO,
    ),
    Question(
        key="address",
        text="What is the address of the Vault or OpenBao?",
        form=r"https?://[^\s\"\\]+",
        example="https://vault.example.com:8200",
        needed=_uses_vault,
    ),
    Question(
        key="login",
        text="How do programs log in there: with a token, as a role with its id, or as a pod of Kubernetes?",
        choices=("token", "approle", "kubernetes"),
        default="token",
        needed=_uses_vault,
    ),
    Question(
        key="region",
        text="In which region of AWS are the secrets?",
        form=r"[a-z]{2}(-[a-z]+)+-[0-9]+",
        example="eu-central-1",
        needed=_uses_aws,
    ),
    Question(
        key="offline",
        text="Must programs go on, and start, while that does not answer?",
        choices=_SWITCH,
        default=NO,
        needed=lambda answers: _uses_vault(answers) or _uses_aws(answers),
    ),
    Question(
        key="shared",
        text="Do several hosts need the same secrets?",
        choices=_SWITCH,
        default=NO,
        needed=lambda answers: answers["aws"] == answers["vault"] == NO,
    ),
    Question(
        key="platform",
        text="Does a platform, such as a CI service, hand secrets over as variables?",
        choices=_SWITCH,
        default=NO,
    ),
)
KEYS: Final = tuple(question.key for question in QUESTIONS)

_LOGINS: Final = {
    "token": "# The token is the one of `vault login` or `bao login`, or VAULT_TOKEN or BAO_TOKEN.",
    "approle": """\
[backends.vault.auth]
method = "approle"
role_id = { env = "VAULT_ROLE_ID" }
secret_id = { env = "VAULT_SECRET_ID" }""",
    "kubernetes": """\
[backends.vault.auth]
method = "kubernetes"
role = "strongroom"            # the role that the server has for the pod's service account""",
}
_RESILIENCE: Final = """\
[resilience]
keep_copy = true               # what is read is copied, encrypted, for an outage
queue_writes = true            # what is written in an outage waits in an encrypted journal"""


class Recommendation(Record):
    """What the answers lead to."""

    content: str
    """The text of ``strongroom.toml``."""
    backends: tuple[str, ...]
    """The backends that it names, the default one first."""
    store: bool
    """Whether there is a local store to make, with its key."""
    reasons: tuple[str, ...]
    """Why, in sentences for people."""

    @property
    def extras(self) -> str:
        """What to install, as extras of ``strongroom``."""
        return ",".join([*self.backends, "audit-jsonl"])


def recommend(answers: Answers) -> Recommendation:
    """Return what the answers lead to.

    Args:
        answers: A checked answer to each question that is needed.

    Raises:
        UsageError: Two answers contradict each other.
    """
    if answers["dynamic"] == YES and answers["vault"] == NO:
        raise UsageError(
            "credentials on demand need a Vault or OpenBao, and there is none",
            hint="answer vault=yes, or dynamic=no: strongroom then rotates what lasts, see `strongroom schedule`",
        )
    names = [name for name, used in (("vault", _uses_vault(answers)), ("aws", _uses_aws(answers))) if used]
    default = answers["keep"] if answers.get("keep") in names else (names or ["local"])[0]
    offline = answers.get("offline") == YES
    store = offline or not names
    backends = [default, *(name for name in names if name != default)]
    backends += [*(["local"] if offline else []), *(["env"] if answers["platform"] == YES else [])]
    routes = [
        *(['"database/" = "vault"        # made on demand'] if default == "aws" and "vault" in names else []),
        *(['"ci/" = "env"                # what the platform hands over; read only'] if "env" in backends else []),
    ]
    top = [f'backend = "{default}"', *(['fallback = "local"             # answers in an outage'] if offline else [])]
    parts = [
        HEADING,
        "\n".join(top),
        *(_backend(name, answers) for name in backends),
        *(["[routes]\n" + "\n".join(routes)] if routes else []),
        *([_RESILIENCE] if offline else []),
        REST,
    ]
    content = "\n\n".join(parts)
    return Recommendation(
        content=content, backends=tuple(backends), store=store, reasons=tuple(_reasons(answers, default))
    )


def _backend(name: str, answers: Answers) -> str:
    if name == "local":
        return LOCAL
    if name == "aws":
        return f'[backends.aws]\ntype = "aws"\nregion = "{answers["region"]}"'
    if name == "env":
        return '[backends.env]\ntype = "env"'
    lines = ["[backends.vault]", 'type = "vault"', f'address = "{answers["address"]}"', 'mount = "secret"']
    if answers["dynamic"] == YES:
        lines.append('dynamic = ["database/creds/*"]   # names that are paths of an engine that makes credentials')
    return "\n".join([*lines, _LOGINS[answers["login"]]])


def _reasons(answers: Answers, default: str) -> list[str]:
    found = {
        "vault": "vault keeps the secrets: hosts share them, and the server itself says who may read what",
        "aws": "aws keeps the secrets: nobody runs a server, and IAM says who may read what",
        "local": "local keeps the secrets: one encrypted file on this machine, without server or network",
    }
    reasons = [found[default]]
    if answers["dynamic"] == YES:
        reasons.append("vault makes the credentials below database/creds/, which end by themselves")
    if answers.get("offline") == YES:
        reasons.append("local keeps encrypted copies and waiting writes for the time in which that does not answer")
    if answers.get("shared") == YES:
        reasons.append("note: one local store is for one machine; hosts that share secrets need OpenBao, Vault or AWS")
    if answers["platform"] == YES:
        reasons.append("env reads what the platform hands over: the variable CI__TOKEN is the secret ci/token")
    return reasons
