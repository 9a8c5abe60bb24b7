"""Provisioning: safe to run again, repairs what drifted, and grants no more than it says."""

from __future__ import annotations

import json
import stat

import pytest

from infra import database, endpoints, object_store, secrets
from infra.machines import provisioning
from infra.machines.provisioning import iam_policy
from infra.object_store import grants
from infra.settings import Settings


def _settings(tmp_path_factory: pytest.TempPathFactory, **more: object) -> Settings:
    return Settings.model_validate({"home": tmp_path_factory.mktemp("home"), **more})


def test_credentials_are_generated_once_private_and_distinct(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = _settings(tmp_path_factory)
    provisioning.generate_credentials(settings)
    files = {path.name: path for path in settings.secrets_dir.iterdir()}
    roles = [f"s3-{role}" for role in (*object_store.ROLES, "admin")] + [
        f"pg-{role}" for role in (*database.ROLES, "admin")
    ]
    assert set(roles) <= set(files)
    content = {name: path.read_text() for name, path in files.items()}
    assert len({value.rpartition(":")[2] for value in content.values()}) == len(content)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.values())
    provisioning.generate_credentials(settings)
    assert {name: path.read_text() for name, path in files.items()} == content


@pytest.mark.parametrize("store", ["object_store", "postgres"])
def test_an_external_service_needs_its_administrator_given(
    tmp_path_factory: pytest.TempPathFactory, store: str
) -> None:
    settings = _settings(tmp_path_factory, **{store: "external"})
    with pytest.raises(secrets.SecretMissing, match="admin"):
        provisioning.generate_credentials(settings)


def test_seaweedfs_is_given_one_identity_per_role_and_one_administrator(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = _settings(tmp_path_factory)
    provisioning.generate_credentials(settings)
    provisioning.admit_deliverer(settings, "tows")
    config = provisioning.seaweedfs_identities(settings)
    assert [identity["name"] for identity in config["identities"]] == ["admin", *object_store.ROLES, "deliver-tows"]
    assert [identity["name"] for identity in config["identities"] if identity.get("actions")] == ["admin"]
    policies = {policy["name"]: json.loads(policy["content"]) for policy in config["policies"]}
    for identity in config["identities"][1:]:
        [policy] = identity["policyNames"]
        assert policies[policy] == iam_policy(identity["name"])


@pytest.mark.parametrize("role", [*object_store.ROLES, "deliver-tows"])
def test_policies_name_every_bucket_and_prefix_and_no_wildcard_action(role: str) -> None:
    for statement in iam_policy(role)["Statement"]:
        if statement["Effect"] == "Deny":
            continue
        assert not any("*" in action for action in statement["Action"])
        for resource in statement["Resource"]:
            bucket, _, rest = resource.removeprefix("arn:aws:s3:::").partition("/")
            assert bucket in object_store.BUCKETS
            assert rest in {"", "*"} | {f"{grant.prefix}*" for grant in grants(role) if grant.bucket == bucket}


@pytest.mark.live
def test_provisioning_again_changes_nothing(store: Settings) -> None:
    def picture() -> object:
        with database.connect(store, "admin", "lake") as lake, database.connect(store, "admin", "bi") as bi:
            query = """
                select nspname, relname, relacl::text from pg_class join pg_namespace on relnamespace = pg_namespace.oid
                where nspname in ('registry', 'iceberg', 'marts') order by 1, 2
            """
            rows = [connection.execute(query).fetchall() for connection in (lake, bi)]
            rows.append(lake.execute("select datname, datacl::text from pg_database order by 1").fetchall())
            rows.append(lake.execute("select * from iceberg.iceberg_namespace_properties order by 1, 2").fetchall())
        return rows

    key = "test/provisioning"
    admin = object_store.client(store, "admin")
    object_store.put_bytes(admin, "lake", key, b"kept")
    before = picture()
    provisioning.provision(store)
    assert picture() == before
    assert object_store.get_bytes(admin, "lake", key) == b"kept"


@pytest.mark.live
def test_provisioning_repairs_what_drifted(store: Settings) -> None:
    admin = object_store.client(store, "admin")
    admin.delete_bucket_lifecycle("quarantine")
    with database.connect(store, "admin", "postgres", autocommit=True) as server:
        server.execute("alter role steward password 'lost'")
        server.execute("grant connect on database lake to public, analyst")
        server.execute("alter role analyst createdb")
    provisioning.provision(store)
    assert admin.get_bucket_lifecycle("quarantine") is not None
    database.connect(store, "steward", "lake").close()
    with database.connect(store, "admin", "postgres") as server:
        assert server.execute("select has_database_privilege('analyst', 'lake', 'connect')").fetchone() == (False,)
        assert server.execute("select rolcreatedb from pg_roles where rolname = 'analyst'").fetchone() == (False,)


@pytest.mark.live
def test_external_services_are_provisioned_alike(store: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    listening = endpoints.load(store)
    outside = Settings(
        home=tmp_path_factory.mktemp("home"),
        secrets=store.secrets_dir,
        object_store="external",
        s3_endpoint=listening.s3_url,
        postgres="external",
        postgres_host=listening.postgres_host,
        postgres_port=listening.postgres_port,
    )
    provisioning.provision(outside)
    assert list(object_store.list_keys(object_store.client(outside, "analyst"), "lake", "marts/nothing")) == []
    with database.connect(outside, "publisher", "bi") as connection:
        assert connection.execute("select current_user").fetchone() == ("publisher",)
