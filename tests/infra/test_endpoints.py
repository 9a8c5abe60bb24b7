from __future__ import annotations

from infra.endpoints import beside_proxies


def test_local_services_are_never_behind_a_proxy() -> None:
    assert beside_proxies({})["NO_PROXY"] == "127.0.0.1,localhost"
    assert beside_proxies({"no_proxy": "intranet,localhost"})["no_proxy"] == "intranet,localhost,127.0.0.1"
