"""`policy`: explains, tests and renders, and opens nothing."""

from __future__ import annotations

import json

from typing import Any

import pytest

from awsrights import findings

RULES = """\
include = ["team.toml"]

[backends.main]
type = "moody"
key = { env = "NOT_SET" }

[[audit]]
type = "notebook"
path = "trail.txt"

[telemetry]
key = { env = "NOT_SET" }

[[policies]]
principal = "app"
effect = "allow"
actions = ["read", "list", "write", "rotate"]
names = ["app/**"]

[[policies]]
principal = "app"
effect = "deny"
actions = ["update", "rotate"]
names = ["app/key"]
expires = 2040-01-01T00:00:00Z
"""
TEAM = """\
# the team's

[[policies]]
principal = "ci-*"
effect = "allow"
actions = ["read"]
names = ["ci/**"]
"""


@pytest.fixture
def ruled(desk: Any) -> Any:
    """The command in a folder with policies in two files."""
    desk.configure(RULES)
    (desk.folder / "team.toml").write_text(TEAM)
    (desk.folder / "team.toml").chmod(0o600)
    return desk


def opened_nothing(desk: Any) -> bool:
    return not (desk.folder / "opened").exists() and not desk.trail.exists()


class TestCheck:
    """Which rule decides."""

    def test_an_allowed_request_is_explained_with_file_and_line(self, ruled: Any) -> None:
        done = ruled("policy", "check", "app", "read", "app/key")
        assert done.lines == [
            "allowed: app read app/key",
            f"  decided by policies[1] of {ruled.folder}/strongroom.toml, line 14: allow",
        ]
        assert (done.status, done.stderr) == (0, "")
        assert opened_nothing(ruled)

    def test_a_denied_one_ends_with_4_and_tells_all_that_matches(self, ruled: Any) -> None:
        done = ruled("policy", "check", "app", "rotate", "app/key")
        assert done.lines == [
            "denied: app rotate app/key",
            f"  matches, too: policies[1] of {ruled.folder}/strongroom.toml, line 14: allow",
            f"  decided by policies[2] of {ruled.folder}/strongroom.toml, line 20: deny, until 2040-01-01T00:00:00Z",
        ]
        assert (done.status, done.stderr) == (4, "")

    def test_a_rule_of_an_included_file_is_found_there(self, ruled: Any) -> None:
        done = ruled("policy", "check", "ci-nightly", "read", "ci/x")
        assert f"policies[1] of {ruled.folder}/team.toml, line 3: allow" in done.stdout

    def test_what_no_rule_allows_is_the_default(self, ruled: Any) -> None:
        done = ruled("policy", "check", "eve", "read", "app/key")
        assert (done.status, done.lines) == (4, ["denied: eve read app/key", "  decided by default deny"])

    def test_write_is_two_decisions_and_both_must_allow(self, ruled: Any) -> None:
        done = ruled("policy", "check", "app", "write", "app/key", "--json")
        assert done.status == 4
        assert [(one["action"], one["allowed"]) for one in done.json["decisions"]] == [
            ("create", True),
            ("update", False),
        ]
        assert done.json["allowed"] is False
        assert ruled("policy", "check", "app", "write", "app/other").status == 0

    def test_another_time_can_be_asked_about(self, ruled: Any) -> None:
        done = ruled("policy", "check", "app", "update", "app/key", "--at", "2040-01-01T00:00:00+00:00", "--json")
        (decision,) = done.json["decisions"]
        assert (done.status, decision["allowed"], decision["until"]) == (0, True, None)
        assert [(rule["line"], rule["effect"], rule["expired"]) for rule in decision["matching"]] == [
            (14, "allow", False),
            (20, "deny", True),
        ]
        assert decision["matching"][1]["expires"] == "2040-01-01T00:00:00Z"
        assert ruled("policy", "check", "app", "update", "app/key", "--at", "2040-01-01").status == 2

    def test_to_impersonate_a_principal_whose_name_is_no_secret_s_can_be_asked(self, ruled: Any) -> None:
        assert ruled("policy", "check", "app", "impersonate", "/who ever/").status == 4

    @pytest.mark.parametrize(("action", "name"), [("raed", "app/key"), ("read", "app//key")])
    def test_what_is_no_request_is_a_usage_error(self, ruled: Any, action: str, name: str) -> None:
        done = ruled("policy", "check", "app", action, name)
        assert (done.status, done.stdout) == (2, "")

    def test_an_odd_principal_cannot_forge_a_line(self, ruled: Any) -> None:
        done = ruled("policy", "check", "app\nallowed: eve", "read", "a")
        assert done.lines[0] == r"denied: app\nallowed: eve read a"


class TestTest:
    """Expectations in a file."""

    def expect(self, desk: Any, text: str, *options: str) -> Any:
        (desk.folder / "expect.toml").write_text(text)
        return desk("policy", "test", "expect.toml", *options)

    MET = """
    [[expect]]
    principal = "app"
    action = "read"
    name = "app/key"
    allowed = true
    rule = "policies[1]"

    [[expect]]
    principal = "app"
    action = "write"
    name = "app/key"
    allowed = false
    rule = "policies[2] of strongroom.toml"

    [[expect]]
    principal = "app"
    action = "write"
    name = "app/key"
    allowed = true
    at = 2040-01-01T00:00:00Z
    """

    def test_what_is_met_is_counted(self, ruled: Any) -> None:
        done = self.expect(ruled, self.MET)
        assert (done.status, done.stdout, done.stderr) == (0, "", "3 expectations, 0 not met\n")
        assert opened_nothing(ruled)

    def test_what_is_not_met_is_told_with_the_rule_that_decided(self, ruled: Any) -> None:
        text = self.MET.replace("allowed = true", "allowed = false").replace("policies[2] of", "policies[1] of")
        done = self.expect(ruled, text)
        where = f"{ruled.folder}/strongroom.toml"
        assert done.lines == [
            "expect[1] in expect.toml: app read app/key is allowed, expected denied; "
            f"decided by policies[1] of {where}, line 14",
            "expect[2] in expect.toml: expected policies[1] of strongroom.toml to decide; "
            f"decided by policies[2] of {where}, line 20",
            "expect[3] in expect.toml: app write app/key is allowed, expected denied; "
            f"decided by policies[1] of {where}, line 14",
        ]
        assert (done.status, done.stderr) == (1, "3 expectations, 3 not met\n")

    def test_another_rule_than_the_expected_one_is_a_failure(self, ruled: Any) -> None:
        done = self.expect(
            ruled, self.MET.replace('rule = "policies[1]"', 'rule = "policies[1] of team.toml"'), "--json"
        )
        (failure,) = done.json["failures"]
        assert (done.status, done.json["expectations"], failure["number"]) == (1, 3, 1)
        assert failure["reason"].startswith("expected policies[1] of team.toml to decide")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has no expectations"),
            ("expect = 1", "has no expectations"),
            ("[[expected]]", "expected in expect.toml is not usable"),
            ("[[expect]", "is not valid TOML"),
            ("expect = " + "[" * 20000, "is not valid TOML"),
            ('[[expect]]\nprincipal = "a"', "expect[1].action in expect.toml is missing"),
            (MET.replace('"read"', '"raed"'), "expect[1].action in expect.toml is not usable"),
            (MET.replace("allowed = true", 'allowed = "yes"'), "expect[1].allowed in expect.toml is not usable"),
            (MET.replace("00Z", "00"), "expect[3].at in expect.toml is not usable"),
            (MET.replace("app/key", "app//key"), "expect[1] in expect.toml: the name"),
            (MET.replace("rule", "ruel"), "expect[1].ruel in expect.toml is not a setting"),
        ],
    )
    def test_a_malformed_file_is_an_error_that_names_the_place(self, ruled: Any, text: str, message: str) -> None:
        done = self.expect(ruled, text)
        assert (done.status, done.stdout) == (2, "")
        assert message in done.stderr

    def test_a_missing_file_is_an_error(self, ruled: Any) -> None:
        assert "gone.toml cannot be read" in ruled("policy", "test", "gone.toml").stderr


AWS = ("policy", "render", "--for", "aws", "--region", "eu-central-1", "--account", "123456789012")
VAULT = ("policy", "render", "--for", "vault")


class TestRender:
    """Policies for other enforcers."""

    def test_what_cannot_be_said_is_refused_with_each_rule_s_line(self, ruled: Any) -> None:
        done = ruled(*VAULT)
        assert (done.status, done.stdout) == (2, "")
        _, error, *reasons = done.stderr.splitlines()
        assert "vault cannot say exactly what the policies say: with --narrow" in error
        assert (
            f"app: policies[2] of {ruled.folder}/strongroom.toml, line 20: a Vault policy does not expire" in reasons[0]
        )

    def test_a_pattern_of_principals_is_named_where_nobody_asks_for_one(self, ruled: Any) -> None:
        told = ruled(*VAULT, "--narrow").stderr.splitlines()[0]
        assert f"{ruled.folder}/team.toml, line 3 speaks of ci-*: name such principals with --principal" in told

    def test_a_principal_of_whom_no_policy_speaks_is_told_of(self, ruled: Any) -> None:
        done = ruled(*AWS, "--principal", "app-typo")
        assert "no policy speaks of app-typo, who may do nothing: check how it is spelled" in done.stderr
        assert (done.status, done.json["Statement"][0]["Effect"]) == (0, "Deny")

    def test_narrowing_is_told_on_standard_error_and_in_a_comment(self, ruled: Any) -> None:
        done = ruled(*VAULT, "--narrow", "--principal", "app")
        assert done.status == 0
        assert "narrowed for app: policies[2]" in done.stderr
        assert "# Narrowed: policies[2]" in done.stdout
        assert 'path "secret/data/app/key" {\n  capabilities = ["create", "read"]\n}' in done.stdout
        assert opened_nothing(ruled)

    def test_a_principal_that_a_pattern_matches_can_be_named(self, ruled: Any) -> None:
        done = ruled(*VAULT, "--principal", "ci-nightly", "--mount", "kv", "--kv-version", "1", "--prefix", "x")
        assert (done.status, done.stderr) == (0, "")
        assert done.stdout == (
            "# What ci-nightly may do. Made by `strongroom policy render`.\n\n"
            'path "kv/x/ci/*" {\n  capabilities = ["read"]\n}\n'
        )

    def test_the_backend_s_settings_say_where_the_names_are(self, ruled: Any) -> None:
        text = RULES.replace("[[audit]]", '[backends.v]\ntype = "vault"\nmount = "kv"\nkv_version = 1\n[[audit]]')
        ruled.configure('backend = "main"\n' + text)
        assert 'path "kv/ci/*"' in ruled(*VAULT, "--principal", "ci-x").stdout
        assert 'path "own/ci/*"' in ruled(*VAULT, "--principal", "ci-x", "--mount", "own").stdout

    def test_the_transit_engine_is_the_backend_s_or_an_option(self, ruled: Any) -> None:
        keys = "[[policies]]\nprincipal = 'keys'\neffect = 'allow'\nactions = ['sign']\nnames = ['*']\n"
        backend = "[backends.v]\ntype = 'vault'\ntransit = 'team/keys'\nprefix = 'x'\n"
        ruled.configure('backend = "main"\n' + RULES + keys + backend)
        assert 'path "team/keys/sign/+"' in ruled(*VAULT, "--principal", "keys").stdout
        assert 'path "own/sign/+"' in ruled(*VAULT, "--principal", "keys", "--transit", "own").stdout
        assert "are not apart" in ruled(*VAULT, "--principal", "keys", "--transit", "secret/x").stderr

    def test_a_version_that_only_the_server_knows_has_to_be_given(self, ruled: Any) -> None:
        ruled.configure('backend = "main"\n' + RULES + "[backends.v]\ntype = 'vault'\nkv_version = 'detect'\n")
        done = ruled(*VAULT, "--principal", "ci-x")
        assert (done.status, done.stdout) == (2, "")
        assert "give --kv-version" in done.stderr
        assert ruled(*VAULT, "--principal", "ci-x", "--kv-version", "2").status == 0

    def test_for_aws_it_is_json(self, ruled: Any) -> None:
        done = ruled(*AWS, "--principal", "ci-x", "--prefix", "prod/")
        statement, batch = json.loads(done.stdout)["Statement"]
        secrets = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod"
        assert statement["Resource"] == [f"{secrets}/ci/*-??????"]
        assert (batch["Action"], batch["Resource"]) == (["secretsmanager:BatchGetSecretValue"], ["*"])
        assert findings(done.stdout) == []

    def aws(self, desk: Any, table: str, *options: str, principal: str = "ci-x") -> Any:
        """Render for AWS with a backend of that type, and return what came of it."""
        desk.configure(f'backend = "main"\n{RULES}[backends.cloud]\ntype = "aws"\n{table}')
        return desk("policy", "render", "--for", "aws", "--principal", principal, *options)

    PLACE = 'region = "cn-north-1"\naccount = "123456789012"\nprefix = "prod/"\n'

    def test_the_aws_backend_s_settings_say_where_the_names_are_and_options_win(self, ruled: Any) -> None:
        for options, arn in (
            ((), "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:prod/ci/*-??????"),
            (
                ("--region", "us-gov-west-1", "--account", "*", "--prefix", "x/"),
                "arn:aws-us-gov:secretsmanager:us-gov-west-1:*:secret:x/ci/*-??????",
            ),
            (("--region", "*", "--partition", "aws-cn"), "arn:aws-cn:secretsmanager:*:123456789012:secret:prod/ci/*"),
        ):
            done = self.aws(ruled, self.PLACE, *options)
            assert (done.status, done.stderr) == (0, "")
            assert json.loads(done.stdout)["Statement"][0]["Resource"][0].startswith(arn)
            assert findings(done.stdout) == []
        assert opened_nothing(ruled)

    @pytest.mark.parametrize(
        ("table", "missing"),
        [("", "region"), ('region = "eu-west-1"', "account"), ('account = "123456789012"', "region")],
    )
    def test_what_neither_an_option_nor_the_aws_backend_says_is_asked_for(
        self, ruled: Any, table: str, missing: str
    ) -> None:
        done = self.aws(ruled, table)
        assert (done.status, done.stdout) == (2, "")
        expected = f"--{missing} is missing: name the {missing}, or * for all, here or in the backend's table"
        assert expected in done.stderr

    def test_the_aws_backend_s_copies_names_and_key_have_their_rights(self, ruled: Any) -> None:
        arn = "arn:aws-cn:secretsmanager:cn-north-1:210987654321:secret:theirs-Ab12Cd"
        key = "arn:aws-cn:kms:cn-north-1:123456789012:key/1a2b"
        extra = f'kms_key_id = "{key}"\nreplicate = ["cn-northwest-1"]\n[backends.cloud.arns]\n"ci/x" = "{arn}"\n'
        done = self.aws(ruled, self.PLACE + extra)
        statements = {one["Sid"]: one for one in json.loads(done.stdout)["Statement"]}
        assert statements["Rule1"]["Resource"][1] == arn
        assert statements["Rule1Copies"]["Resource"][0].startswith("arn:aws-cn:secretsmanager:cn-northwest-1:")
        assert statements["Key"]["Resource"] == [key]
        assert findings(done.stdout) == []
        unread = self.aws(ruled, self.PLACE + 'replicate = ["cn-northwest-1"]\nreplicas = []\n')
        assert "cn-northwest-1" not in unread.stdout

    def test_whether_the_aws_backend_s_new_secrets_get_tags_decides_if_creating_alone_can_be_said(
        self, ruled: Any
    ) -> None:
        rule = "[[policies]]\nprincipal = 'maker'\neffect = 'allow'\nactions = ['create']\nnames = ['x']\n"
        for tags, status in (("", 0), ('tags = { team = "shop" }\n', 2)):
            done = self.aws(ruled, self.PLACE + tags + rule, principal="maker")
            assert done.status == status
            assert ("the right to tag" in done.stderr) is bool(tags)

    @pytest.mark.parametrize("key", ['"alias/app"', '{ env = "NOT_SET" }'])
    def test_what_the_aws_policy_lacks_is_told_on_standard_error(self, ruled: Any, key: str) -> None:
        done = self.aws(ruled, f"{self.PLACE}kms_key_id = {key}\n")
        assert done.status == 0
        assert "ci-x: kms_key_id is not the ARN of a key, so the policy lacks kms:Decrypt on it" in done.stderr
        assert findings(done.stdout) == []

    def test_a_policy_larger_than_aws_takes_is_written_with_a_warning(self, ruled: Any) -> None:
        names = ", ".join(f'"n{number}"' for number in range(100))
        big = f"[[policies]]\nprincipal = 'big'\neffect = 'allow'\nactions = ['read']\nnames = [{names}]\n"
        done = self.aws(ruled, self.PLACE + big, principal="big")
        assert (done.status, len(json.loads(done.stdout)["Statement"][0]["Resource"])) == (0, 100)
        assert "characters, and AWS takes 6144 in a managed one" in done.stderr

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ('replicate = "eu-west-1"', "replicate is not usable: expected a list of regions"),
            ('replicas = ["EU"]', "the region 'EU' is not usable"),
            ("arns = 1", "arns is not usable"),
            ('arns = { x = "arn:*" }', "the ARN 'arn:*' is not usable"),
        ],
    )
    def test_an_aws_backend_s_malformed_settings_are_errors(self, ruled: Any, table: str, message: str) -> None:
        done = self.aws(ruled, self.PLACE + table)
        assert (done.status, done.stdout) == (2, "")
        assert message in done.stderr

    def test_several_principals_get_a_file_each(self, ruled: Any) -> None:
        several = ("--principal", "ci-x", "--principal", "ci-/../y")
        assert "name one with --principal, or a folder with --output" in ruled(*VAULT, *several).stderr
        for _ in range(2):
            assert ruled(*VAULT, *several, "--output", "out").status == 0
        assert sorted(path.name for path in (ruled.folder / "out").iterdir()) == ["ci-%2F..%2Fy.hcl", "ci-x.hcl"]
        assert "# What ci-x may do." in (ruled.folder / "out/ci-x.hcl").read_text()

    def test_no_file_is_replaced_before_all_of_them_are_ready(self, ruled: Any) -> None:
        (ruled.folder / "out").mkdir()
        (ruled.folder / "out/ci-x.hcl").write_text("old")
        done = ruled(*VAULT, "--principal", "ci-x", "--principal", f"ci-{'y' * 250}", "--output", "out")
        assert (done.status, (ruled.folder / "out/ci-x.hcl").read_text()) == (2, "old")
        assert "cannot be written: File name too long: check its folder" in done.stderr
        assert len(list((ruled.folder / "out").iterdir())) == 1

    def test_a_folder_that_cannot_be_made_is_named(self, ruled: Any) -> None:
        done = ruled(*VAULT, "--principal", "ci-x", "--output", "strongroom.toml")
        assert done.status == 2
        assert "strongroom.toml cannot be made: File exists" in done.stderr

    def test_a_backend_s_setting_may_be_a_number(self, ruled: Any) -> None:
        ruled.configure('backend = "main"\n' + RULES + "[backends.kv]\ntype = 'vault'\nmount = 5\n")
        assert 'path "5/data/ci/*"' in ruled(*VAULT, "--principal", "ci-x").stdout

    def test_nothing_is_written_if_one_principal_s_policy_is_refused(self, ruled: Any) -> None:
        assert ruled(*VAULT, "--principal", "ci-x", "--principal", "app", "--output", "out").status == 2
        assert not (ruled.folder / "out").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--for", "vault", "--region", "x"), "--region is not for vault"),
            (("--for", "aws", "--mount", "x"), "--mount is not for aws"),
            (("--for", "aws", "--transit", "x"), "--transit is not for aws"),
            (("--for", "aws", "--account", "*"), "--region is missing"),
            (("--for", "aws", "--region", "*"), "--account is missing"),
            (("--for", "vault", "--principal", "ci-*"), "ci-* stands for several principals"),
            (("--for", "aws", "--region", "*", "--account", "12"), "the account '12' is not usable"),
            (("--for", "vault", "--mount", "a/+"), "the mount 'a/+' is not usable"),
        ],
    )
    def test_options_that_do_not_fit_are_refused(self, ruled: Any, arguments: tuple[str, ...], message: str) -> None:
        done = ruled("policy", "render", "--principal", "ci-x", *arguments)
        assert (done.status, done.stdout) == (2, "")
        assert message in done.stderr

    def test_without_a_policy_or_a_principal_there_is_nothing_to_render(self, desk: Any) -> None:
        assert "there is no policy to render" in desk(*VAULT).stderr
        desk.configure(RULES.replace('"app"', '"*"').replace('["team.toml"]', "[]"))
        assert "no rule names a principal exactly" in desk(*VAULT).stderr


def test_config_shows_which_file_each_rule_is_from(ruled: Any) -> None:
    ruled.configure(RULES.replace('key = { env = "NOT_SET" }', ""))
    done = ruled("config", "--json")
    shown = {(line["setting"], line["source"]): line["value"] for line in done.json["settings"]}
    team, own = str(ruled.folder / "team.toml"), str(ruled.folder / "strongroom.toml")
    assert shown["policies[1].principal", team] == "ci-*"
    assert shown["policies[2].expires", own] == "2040-01-01T00:00:00+00:00"
    assert done.json["files"][team] == f"in force, included by {own}"
    table = [line.split() for line in ruled("config").lines]
    assert ["policies[1].principal", '"ci-*"', team] in table
    assert ["policies[2].expires", "2040-01-01T00:00:00+00:00", own] in table


def test_the_schema_knows_includes_and_expiry(desk: Any) -> None:
    properties = desk("config", "--schema").json["properties"]
    assert properties["include"]["items"] == {"type": "string"}
    rule = properties["policies"]["items"]
    assert rule["properties"]["expires"] == {"type": "string", "format": "date-time"}
    assert rule["required"] == ["principal", "effect", "actions", "names"]
