"""The examples for Docker Compose and Kubernetes are valid, and what they would run works."""

from __future__ import annotations

import json
import shutil

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import compose_spec
import kubernetes_validate
import pytest
import yaml

from _workspace import ROOT
from certificates import Authority
from commandline import Cli
from containers import Container, project
from openbao import Server, development_server
from tokenreviews import account_token, token_reviews

COMPOSE = ROOT / "docs/samples/compose"
KUBERNETES = ROOT / "docs/samples/kubernetes"
PASSWORD = "p\"a's {{ s }} %s\n$x"
SAID = f"shop at db.internal.example, a password of {len(PASSWORD)} characters\n"


# ---------------------------------------------------------------------------------------------------- Docker Compose


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((COMPOSE / "compose.yaml").read_text()))


def instruction(name: str) -> Any:
    """Return what the Dockerfile says last under a name, as words if it is a list."""
    lines = (COMPOSE / "Dockerfile").read_text().splitlines()
    said = [line.partition(" ")[2] for line in lines if line.startswith(f"{name} ")][-1]
    return json.loads(said) if said.startswith("[") else said


class Project:
    """The example, with its volumes and a filled store in folders of the test's."""

    def __init__(self, folder: Path, cli: Cli) -> None:
        assert cli("set", "shop/db", stdin=json.dumps({"user": "shop", "password": PASSWORD})).status == 0
        assert cli("set", "shop/session-key", stdin="k" * 40).status == 0
        shutil.copytree(COMPOSE, folder)
        shutil.copytree(cli.folder, folder / "store")
        shutil.move(folder / "store/master.key", folder / "master.key")
        self.folder = folder
        self.content = compose()
        self.volumes = {name: folder / "volumes" / name for name in self.content["volumes"]}
        for path in self.volumes.values():
            path.mkdir(parents=True)

    def container(self, name: str) -> Container:
        """Return one of its services, as the engine would start it."""
        service = self.content["services"][name]
        mounts = {instruction("WORKDIR"): self.folder}
        for volume in service["volumes"]:
            source, place, *_ = volume.split(":")
            mounts[place] = self.volumes.get(source, self.folder / source)
        for secret in service["secrets"]:
            mounts[f"/run/secrets/{secret}"] = self.folder / self.content["secrets"][secret]["file"]
        command = [*service.get("entrypoint", instruction("ENTRYPOINT")), *service.get("command", instruction("CMD"))]
        made = Container(command, mounts, service.get("environment", {}), instruction("WORKDIR"))
        config = mounts["/etc/strongroom"] / "strongroom.toml"
        config.write_text(made.mapped(config.read_text()))
        return made


def test_compose_takes_the_file() -> None:
    read = compose_spec.PyCompose.from_json(json.dumps(compose()))
    assert sorted(read.service_names()) == ["settings", "shop"]
    with pytest.raises(ValueError, match="nonsense"):
        compose_spec.PyCompose.from_json('{"services": {"shop": {"image": "shop", "nonsense": 1}}}')


def test_nothing_of_the_compose_example_runs_with_rights_that_it_does_not_need() -> None:
    content = compose()
    for name, service in content["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["user"] == instruction("USER"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert content["volumes"]["settings"]["driver_opts"]["type"] == "tmpfs"


def test_what_the_compose_example_starts_works(tmp_path: Path, cli: Cli, home: Path) -> None:
    example = Project(tmp_path / "compose", cli)
    rendered = example.container("settings").run(home)
    assert rendered.status == 0, rendered.stderr
    written = example.volumes["settings"] / "settings.json"
    assert json.loads(written.read_text())["password"] == PASSWORD
    assert written.stat().st_mode & 0o777 == 0o600
    with example.container("shop").running(home) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [SAID, "a session key of 40 characters\n"]
    assert process.returncode == 0
    events = [json.loads(line) for line in (example.folder / "store/audit.jsonl").read_text().splitlines()]
    assert [event["key"] for event in events if event["event"] == "get"] == ["shop/db", "shop/session-key"]


def test_without_its_secrets_the_compose_example_does_not_start(tmp_path: Path, cli: Cli, home: Path) -> None:
    example = Project(tmp_path / "compose", cli)
    (example.folder / "master.key").unlink()
    assert example.container("settings").run(home).status == 8
    assert example.container("shop").run(home).status == 125


# -------------------------------------------------------------------------------------------------------- Kubernetes


def manifests() -> list[dict[str, Any]]:
    return [dict(one) for one in yaml.safe_load_all((KUBERNETES / "shop.yaml").read_text())]


def manifest(kind: str, name: str) -> dict[str, Any]:
    found = [one for one in manifests() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1
    return found[0]


def pod_of(kind: str, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifest(kind, name)["spec"]
    return dict((spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]["spec"])


PODS = [("Deployment", "shop"), ("CronJob", "shop-rotate")]


class Pod:
    """A pod of the example: its volumes in folders of the test's, and its containers."""

    def __init__(self, folder: Path, kind: str, name: str, address: str) -> None:
        self.spec = pod_of(kind, name)
        self.account = self.spec["serviceAccountName"]
        self.address = address
        self.volumes = {one["name"]: self._volume(folder / one["name"], one) for one in self.spec["volumes"]}

    def _volume(self, folder: Path, volume: dict[str, Any]) -> Path:
        if "configMap" in volume:
            files = manifest("ConfigMap", volume["configMap"]["name"])["data"]
            there = {name: text.replace("https://vault.example.com:8200", self.address) for name, text in files.items()}
            return project(folder, there)
        if "projected" in volume:
            token = volume["projected"]["sources"][0]["serviceAccountToken"]
            return project(folder, {token["path"]: account_token("shop", self.account, token["audience"])})
        folder.mkdir(parents=True)
        folder.chmod(0o2777)
        return folder

    def container(self, name: str, *arguments: str) -> Container:
        """Return one of its containers, as the kubelet would start it; with other arguments if there are any."""
        containers = [*self.spec.get("initContainers", ()), *self.spec["containers"]]
        found = next(one for one in containers if one["name"] == name)
        mounts = {mount["mountPath"]: self.volumes[mount["name"]] for mount in found["volumeMounts"]}
        mounts["/app"] = COMPOSE
        environment = {one["name"]: one["value"] for one in found.get("env", ())}
        made = Container([*found["command"], *(arguments or found["args"])], mounts, environment)
        config = mounts["/etc/strongroom"] / "strongroom.toml"
        config.write_text(made.mapped(config.read_text()))
        return made


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Server]:
    """An OpenBao that the example's accounts can log in to, with its policies and its secrets."""
    folder = tmp_path / "bao"
    folder.mkdir()
    with development_server(folder) as server, token_reviews() as api:
        server.ok("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        certificate = Authority(tmp_path).file.read_text()
        configuration = {"kubernetes_host": api, "kubernetes_ca_cert": certificate, "disable_local_ca_jwt": True}
        server.ok("POST", "auth/kubernetes/config", configuration)
        for name in ("shop", "shop-rotate"):
            server.policy(name, (KUBERNETES / f"{name}.hcl").read_text())
            role: dict[str, Any] = {"bound_service_account_names": [name], "bound_service_account_namespaces": ["shop"]}
            role |= {"audience": "vault", "token_policies": [name], "token_no_default_policy": True}
            server.ok("POST", f"auth/kubernetes/role/{name}", role)
        server.ok("POST", "secret/data/shop/db", {"data": {"user": "shop", "password": PASSWORD}})
        server.ok("POST", "secret/data/shop/session-key", {"data": {"value": "k" * 40}})
        yield server


@pytest.mark.parametrize("version", ["1.29", "1.33"])
def test_kubernetes_takes_the_manifests(version: str) -> None:
    for one in manifests():
        kubernetes_validate.validate(one, version, strict=True)
    wrong = manifests()[-1]
    wrong["spec"]["nonsense"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("name", ["shop", "shop-rotate"])
def test_the_rights_on_the_server_are_those_that_the_policies_come_to(
    tmp_path: Path, cli_in: Callable[[Path], Cli], name: str
) -> None:
    (tmp_path / "strongroom.toml").write_text(manifest("ConfigMap", f"{name}-strongroom")["data"]["strongroom.toml"])
    rendered = cli_in(tmp_path)("policy", "render", "--for", "vault", "--principal", name)
    assert rendered.stdout == (KUBERNETES / f"{name}.hcl").read_text()


@pytest.mark.parametrize(("kind", "name"), PODS)
def test_the_pods_keep_to_the_restricted_standard(kind: str, name: str) -> None:
    pod = pod_of(kind, name)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    for container in containers:
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert all(volume["emptyDir"]["medium"] == "Memory" for volume in pod["volumes"] if volume["name"] == "settings")
    selected = manifest("NetworkPolicy", "shop")["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert name in selected


def test_what_the_deployment_starts_works(tmp_path: Path, vault: Server, home: Path) -> None:
    pod = Pod(tmp_path / "pod", "Deployment", "shop", vault.address)
    rendered = pod.container("settings").run(home)
    assert rendered.status == 0, rendered.stderr
    assert json.loads((pod.volumes["settings"] / "settings.json").read_text())["password"] == PASSWORD
    with pod.container("shop").running(home) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [SAID, "a session key of 40 characters\n"]
    assert process.returncode == 0


def test_the_pod_of_another_account_is_refused(tmp_path: Path, vault: Server, home: Path) -> None:
    pod = Pod(tmp_path / "pod", "Deployment", "shop", vault.address)
    (pod.volumes["token"] / "token").write_text(account_token("shop", "somebody", "vault"))
    assert pod.container("settings").run(home).status == 5
    assert list(pod.volumes["settings"].iterdir()) == []


def test_what_the_job_starts_rotates(tmp_path: Path, vault: Server, home: Path) -> None:
    pod = Pod(tmp_path / "pod", "CronJob", "shop-rotate", vault.address)
    done = pod.container("rotate").run(home)
    assert (done.status, done.stderr) == (0, "nothing is due\n")
    # What it does when the time has come, with the same rights.
    rotated = pod.container("rotate", "rotate", "shop/session-key").run(home)
    assert (rotated.status, rotated.stderr) == (0, "rotated shop/session-key version 2\n")
    content = vault.ok("GET", "secret/data/shop/session-key")["data"]["data"]["value"]
    assert len(content) == 43
    assert pod.container("rotate", "get", "shop/db").run(home).status == 4
