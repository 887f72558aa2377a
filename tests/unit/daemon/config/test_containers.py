"""Image, compose file and manifests are consistent: everything they name exists and agrees.

They are read as data, because no container engine runs in the tests.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from factd.daemon.config.tables import HttpTable
from factd.daemon.configuration import load_config, refuse_unknown_variables
from factd.daemon.plugins import sources
from support.paths import ROOT

DEPLOY = ROOT / "deploy"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.toml"))
CONFIGS = [*EXAMPLES, DEPLOY / "kustomize" / "base" / "factd.toml", DEPLOY / "factd.example.toml"]
MANIFESTS = sorted((DEPLOY / "kustomize").rglob("*.yaml"))
PORT = HttpTable().port
PATHS = {"/livez", "/readyz", "/metrics"}
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())


def documents() -> dict[str, Any]:
    """Every manifest by kind and file."""
    found = {}
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            found[f"{document['kind']} {path.relative_to(DEPLOY / 'kustomize')}"] = document
    return found


def deployment() -> dict[str, Any]:
    found: dict[str, Any] = documents()["Deployment base/deployment.yaml"]
    return found


def pod() -> dict[str, Any]:
    found: dict[str, Any] = deployment()["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_an_example_configuration_loads(path: Path) -> None:
    config = load_config(path)
    assert config.http.port == PORT
    for name, source in sources(config).items():
        assert source.name == name


def test_the_image_holds_no_model_and_runs_without_privileges() -> None:
    stages = re.split(r"(?m)^FROM ", DOCKERFILE)[1:]
    assert [stage.splitlines()[0] for stage in stages] == ["${BASE} AS build", "${BASE}"]
    users = re.findall(r"(?m)^USER (\d+):(\d+)$", stages[-1])
    assert users == [("10001", "10001")]
    copied = re.findall(r"(?m)^COPY (?:--from=\w+ )?(\S+)", DOCKERFILE)
    assert not [name for name in copied if "model" in name or name == "."]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ("reference/model" in ignored, ignored[1]) == (True, "*")


def test_files_that_the_image_copies_exist_and_are_not_ignored() -> None:
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", DOCKERFILE)
    names = [name for line in copied for name in line.split()]
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert len(names) > 8
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert set(names) == let_in


def test_the_image_has_a_health_check() -> None:
    found = re.search(r"HEALTHCHECK[^\n]*\\\n.*?http://127\.0\.0\.1:(\d+)(/\w+)", DOCKERFILE)
    assert found
    assert (int(found[1]), found[2]) == (PORT, "/livez")
    assert f"EXPOSE {PORT}" in DOCKERFILE
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in DOCKERFILE


def variables() -> Iterator[tuple[str, str]]:
    """Every FACTD_ variable that is set for a process."""
    for text in re.findall(r"(?m)\bFACTD_\w+(?==)", DOCKERFILE):
        yield "Dockerfile", text
    for name, service in COMPOSE["services"].items():
        for variable in service.get("environment", {}):
            yield f"compose {name}", variable
    for where, document in documents().items():
        for variable in found_in(document, "env"):
            yield where, variable["name"]


def found_in(data: Any, key: str) -> Iterator[Any]:
    """The items of every list under a key, however deep."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            if name == key and isinstance(value, list):
                yield from value
            yield from found_in(value, key)
    elif isinstance(data, list):
        for item in data:
            yield from found_in(item, key)


def test_every_variable_is_a_setting() -> None:
    ours = [(where, name) for where, name in variables() if name.startswith("FACTD_")]
    assert len(ours) > 2
    refuse_unknown_variables({name: "x" for _, name in ours})


def test_a_pod_gets_no_variables_that_would_be_refused() -> None:
    assert pod()["enableServiceLinks"] is False


def test_every_file_that_compose_mounts_is_there() -> None:
    mounted = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    assert len(mounted) > 5
    assert [name for name in mounted if not (DEPLOY / name).exists()] == []
    build = COMPOSE["services"]["factd"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).exists()


def test_compose_names_only_what_it_has() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("depends_on", ())) <= set(services), name
        named = [v.split(":")[0] for v in service.get("volumes", ()) if v[0] not in "./$"]
        assert set(named) <= set(COMPOSE["volumes"]), name


def test_compose_hardens_every_service_and_opens_loopback_only() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["user"].split(":")[0]) > 0, name
        assert re.search(r":[\w.-]+$", service["image"]), name
        assert "latest" not in service["image"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    assert COMPOSE["services"]["factd"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]


def test_no_secret_is_written_in_a_file() -> None:
    key = re.compile(r"(?im)^[^#\n]*(?:password|token|secret)[ \t]*[:=][ \t]*[\"']?([^\s{\[]\S*)")
    for path in [DEPLOY / "compose.yml", *CONFIGS, *MANIFESTS]:
        assert [value for value in key.findall(path.read_text()) if value != "false"] == [], path
    assert key.findall("  api_token: abc") == ["abc"]


def test_compose_mounts_the_paths_of_its_configuration() -> None:
    config = load_config(DEPLOY / "examples" / "compose.toml")
    volumes = COMPOSE["services"]["factd"]["volumes"]
    targets = [
        volume.rsplit(":", 2 if volume.endswith(":ro") else 1)[-2 if volume.endswith(":ro") else -1]
        for volume in volumes
    ]
    for path in (config.state_dir, config.publish.path, config.model.path):
        assert any(path.is_relative_to(target) for target in targets), path
    assert str(config.store.url_file) == "/run/secrets/database"
    target = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.compose.yml").read_text())
    assert target["scrape_configs"][0]["static_configs"] == [{"targets": [f"factd:{PORT}"]}]


def test_grafana_finds_its_data_source_and_the_dashboard() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((folder / "dashboards" / "factd.yml").read_text())
    where = provider["providers"][0]["options"]["path"]
    mounted = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./grafana/factd.json:{where}/factd.json:ro" in mounted


def test_every_file_of_a_kustomization_is_there() -> None:
    for path in MANIFESTS:
        if path.name != "kustomization.yaml":
            continue
        found = yaml.safe_load(path.read_text())
        files = [item for made in found.get("configMapGenerator", ()) for item in made["files"]]
        patches = [patch["path"] for patch in found.get("patches", ())]
        named = [*found.get("resources", ()), *found.get("components", ()), *files, *patches]
        assert [name for name in named if not (path.parent / name).exists()] == [], path
        beside = {p.name for p in path.parent.glob("*.yaml")} - {path.name}
        assert beside <= set(named), path


def test_one_pod_at_a_time_holds_the_state() -> None:
    assert (deployment()["spec"]["replicas"], deployment()["spec"]["strategy"]["type"]) == (
        1,
        "Recreate",
    )


def test_a_pod_is_hardened() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod()["containers"], *pod()["initContainers"]):
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_the_probes_of_a_pod_use_paths_that_the_daemon_serves() -> None:
    daemon = pod()["containers"][0]
    assert {p["name"]: p["containerPort"] for p in daemon["ports"]} == {"http": PORT}
    asked = {kind: daemon[kind]["httpGet"] for kind in daemon if kind.endswith("Probe")}
    assert set(asked) == {"startupProbe", "livenessProbe", "readinessProbe"}
    assert {probe["port"] for probe in asked.values()} == {"http"}
    assert asked["livenessProbe"]["path"] == asked["startupProbe"]["path"] == "/livez"
    assert asked["readinessProbe"]["path"] == "/readyz"
    assert {probe["path"] for probe in asked.values()} <= PATHS


def test_volumes_of_a_pod_hold_what_its_configuration_names() -> None:
    config = load_config(DEPLOY / "kustomize" / "base" / "factd.toml")
    mounts = {mount["mountPath"] for mount in pod()["containers"][0]["volumeMounts"]}
    own = [config.state_dir, config.publish.path, config.model.path, config.store.url_file]
    for path in own:
        assert path
        assert any(path.is_relative_to(mount) for mount in mounts), path
    names = {volume["name"] for volume in pod()["volumes"]}
    assert {mount["name"] for mount in pod()["containers"][0]["volumeMounts"]} == names
    claims = {
        document["metadata"]["name"]
        for document in yaml.safe_load_all(
            (DEPLOY / "kustomize" / "base" / "volumes.yaml").read_text()
        )
    }
    asked = {
        v["persistentVolumeClaim"]["claimName"]
        for v in pod()["volumes"]
        if "persistentVolumeClaim" in v
    }
    assert asked == claims


def test_selectors_find_the_pod() -> None:
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    found = documents()
    selectors = [
        deployment()["spec"]["selector"]["matchLabels"],
        found["Service base/service.yaml"]["spec"]["selector"],
        found["NetworkPolicy base/networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        found["PodMonitor components/podmonitor/podmonitor.yaml"]["spec"]["selector"][
            "matchLabels"
        ],
    ]
    assert all(selector == labels for selector in selectors)
    assert found["Service base/service.yaml"]["spec"]["ports"][0]["port"] == PORT
    ingress = found["NetworkPolicy base/networkpolicy.yaml"]["spec"]["ingress"]
    assert ingress[0]["ports"] == [{"protocol": "TCP", "port": PORT}]
    monitored = found["PodMonitor components/podmonitor/podmonitor.yaml"]["spec"]
    assert monitored["podMetricsEndpoints"][0]["path"] in PATHS


def test_the_gpu_overlay_patches_the_container_that_there_is() -> None:
    patch = documents()["Deployment overlays/gpu/gpu.yaml"]
    containers = patch["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in containers] == [c["name"] for c in pod()["containers"]]
    assert patch["metadata"]["name"] == deployment()["metadata"]["name"]
    assert containers[0]["resources"]["limits"] == {"nvidia.com/gpu": 1}
