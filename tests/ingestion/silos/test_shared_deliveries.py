"""Real public files, where they are at hand: every record is accepted or quarantined, and we know why. Counts only."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from silo_delivery import Deliver, shared_data

from infra.city.profile import City


class Real(NamedTuple):
    silo: str
    layout: str
    file: str
    rows: int
    quarantined: dict[str, int]
    lines_per_row: int = 1


FILES = [
    Real("verbalisations", "los_angeles", "01_fines/us_losangeles/parking-citations.csv", 9_999, {}),
    Real("verbalisations", "essen", "01_fines/de_essen/owi_juli_2022.csv", 30_714, {"offence_code_unknown": 3}),
    Real("tows", "chicago", "02_tows/us_chicago/2017_Towed_Vehicles.csv", 5_847, {"duplicate_key": 4}),
    Real("tows", "chicago", "02_tows/us_chicago/2018_Towed_Vehicles.csv", 5_002, {"duplicate_key": 5}),
    Real("tows", "chicago", "02_tows/us_chicago/2020_Towed_Vehicles.csv", 2_956, {"duplicate_key": 14}),
    Real("crowd_flows", "moers", "03_crowd/de_moers/besucherzahlen-moers-mai-2022-stundlich.csv", 744, {}, 4),
    Real("crowd_flows", "moers", "03_crowd/de_moers/besucherzahlen-moers-juni-2022-stundlich.csv", 720, {}, 4),
    Real("crowd_flows", "moers", "03_crowd/de_moers/besucherzahlen-moers-juli-2022-stundlich.csv", 744, {}, 4),
    Real(
        "crowd_flows",
        "melbourne",
        "03_crowd/au_melbourne/pedestriancounts_melbourne_2906.zip",
        656_823,
        {"count_unreadable": 14, "place_missing": 2, "time_does_not_exist": 18},
    ),
    Real("crowd_flows", "melbourne_sensors", "03_crowd/au_melbourne/Pedestrian_sensor_locations.csv", 43, {}),
    Real("telecom_footfall", "mitma", "04_telecom/mitma_spain/od_dist_day.csv.gz", 100, {}),
    Real("telecom_footfall", "mitma", "04_telecom/mitma_spain/od_hive_data.csv.gz", 1, {}),
    Real("telecom_footfall", "mitma_zones", "04_telecom/mitma_spain/relaciones_distrito_mitma.csv", 10_494, {}),
]


@pytest.mark.parametrize("real", FILES, ids=lambda real: real.file.rpartition("/")[2])
def test_every_record_of_a_real_file_is_accounted_for(real: Real, deliver: Deliver, elsewhere: City) -> None:
    path = shared_data() / real.file
    if not path.exists():
        pytest.skip("the shared data are not here (CALANQUE_SHARED_DATA)")
    outcome = deliver(real.silo, path, elsewhere)
    tally = outcome.tally
    assert outcome.accepted.name == real.layout
    assert tally.rows_in == real.rows == tally.accepted + tally.quarantined
    assert tally.by_rule == real.quarantined
    assert outcome.rows.height == tally.accepted * real.lines_per_row
    assert outcome.rows["zone_id"].is_not_null().all() if "zone_id" in outcome.rows.columns else True
