"""One good made-up record of each format, to be corrupted by the tests."""

from __future__ import annotations

from collections.abc import Mapping

from ingestion.silos.verbalisations.formats import PVE_COLUMNS, PVE_PLATE

PVE = {
    **dict.fromkeys(PVE_COLUMNS, ""),
    "DI_Id": "1000000001",
    "NI_CodeNatinf": "6803",
    "NI_Qualification": "STATIONNEMENT GÊNANT D'UN VÉHICULE SUR UN EMPLACEMENT INTERDIT",
    "MIFVAO_CoordGPSLatitude": "43.2965",
    "MIFVAO_CoordGPSLongitude": "5.3765",
    "MI_DateHeureInfraction": "2025-03-10 14:05:00",
    "CORPSUNITE_Libelle": "Police municipale",
    PVE_PLATE: "AA-001-AA",
}
LOS_ANGELES = {
    "Ticket number": "1000000001",
    "Issue Date": "2025-03-10T00:00:00",
    "Issue time": "905",
    "Violation code": "80.69BS",
    "Violation Description": "NO PARK/STREET CLEAN",
    "Latitude": "6488151.2",  # the file's own misnomers: these are feet
    "Longitude": "1842013.4",
}
ESSEN = {"date": "2025-03-10", "street": "Musterstraße", "tbnr": "112454"}
FOURRIERE = {
    "numero_dossier": "2025-000001",
    "date_heure_enlevement": "2025-03-10 14:05:00",
    "longitude": "5.3765",
    "latitude": "43.2965",
    "motif": "Stationnement gênant",
    "immatriculation": "AA-001-AA",
    "fourriere": "Fourrière Nord",
    "autorite_prescriptrice": "police municipale",
    "date_heure_mainlevee": "2025-03-11 09:00:00",
    "date_heure_restitution": "2025-03-11 10:30:00",
    "issue": "restitution",
}
CHICAGO = {
    "Tow Date": "03/10/2025",
    "Make": "FORD",
    "Plate": "AB12345",
    "State": "IL",
    "Towed to Address": "10300 S. Doty",
    "Tow Facility Phone": "",
    "Inventory Number": "1000001",
}
COUNTER = {
    "place_id": "vieux-port",
    "direction": "in",
    "starts_at": "2025-03-10T14:15:00+01:00",
    "count": "120",
    "area_m2": "10000",
}
MOERS = {
    "Lage": "Steinstraße, Moers",
    "Zeitpunkt der Messung": "2025-03-10 14:00:00 +0100",
    "Fußgänger insgesamt": "10",
    "Erwachsene Richtung Neumarkt": "4",
    "Erwachsene Richtung Neuer Wall": "3",
    "Kinder Richtung Neumarkt": "2",
    "Kinder Richtung Neuer Wall": "1",
}
MELBOURNE = {
    "Date": "10-Mar-2025",
    "Day_of_week": "Monday",
    "Hour": "14",
    "SensorID": "4",
    "SensorName": "Made up",
    "PedestrianCount": "120",
}
MELBOURNE_SENSORS = {
    "Sensor ID": "4",
    "Sensor Name": "Mad_T",
    "Sensor Description": "Made up (West)",
    "Status": "Installed",
    "Latitude": "-37.8150",
    "Longitude": "144.9660",
}
PRESENCE = {
    "zone": "1320101",
    "hour": "2025-03-10T14:00:00+01:00",
    "category": "resident",
    "count": "120",
}
MITMA_SPANISH = {
    "fecha": "20250310",
    "periodo": "14",
    "origen": "01001",
    "destino": "01002",
    "distancia": "2-10",
    "actividad_origen": "casa",
    "actividad_destino": "trabajo_estudio",
    "estudio_origen_posible": "0",
    "estudio_destino_posible": "0",
    "residencia": "01",
    "renta": "10-15",
    "edad": "25-45",
    "sexo": "hombre",
    "viajes": "10.5",
    "viajes_km": "80.25",
}
MITMA_ENGLISH = {
    "date": "2025-03-10",
    "hour": "14",
    "id_origin": "01001",
    "id_destination": "01002",
    "distance": "2-10",
    "activity_origin": "home",
    "activity_destination": "work_or_study",
    "study_possible_origin": "FALSE",
    "study_possible_destination": "FALSE",
    "residence_province_ine_code": "01",
    "residence_province_name": "Araba/Álava",
    "income": "10-15",
    "age": "25-45",
    "sex": "male",
    "n_trips": "10.5",
    "trips_total_length_km": "80.25",
    "year": "2025",
    "month": "3",
    "day": "10",
    "time_slot": "14",
}
MITMA_ZONES = {"distrito": "0100101", "distrito_mitma": "01001_AM", "municipio_mitma": "01001_AM"}

GOOD: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    # layout: (city, record, column that tells records apart)
    "pve": ("marseille", PVE, "DI_Id"),
    "los_angeles": ("elsewhere", LOS_ANGELES, "Ticket number"),
    "essen": ("elsewhere", ESSEN, "street"),
    "fourriere": ("marseille", FOURRIERE, "numero_dossier"),
    "chicago": ("elsewhere", CHICAGO, "Inventory Number"),
    "counter": ("marseille", COUNTER, "direction"),
    "moers": ("elsewhere", MOERS, "Zeitpunkt der Messung"),
    "melbourne": ("elsewhere", MELBOURNE, "SensorID"),
    "melbourne_sensors": ("elsewhere", MELBOURNE_SENSORS, "Sensor ID"),
    "presence": ("marseille", PRESENCE, "category"),
    "mitma": ("elsewhere", MITMA_SPANISH, "edad"),
    "mitma (English)": ("elsewhere", MITMA_ENGLISH, "age"),
    "mitma_zones": ("elsewhere", MITMA_ZONES, "distrito"),
}
"""Good records by format, and by layout where a format has two."""

OTHERS = {
    "DI_Id": "1000000002",
    "Ticket number": "1000000002",
    "street": "Beispielweg",
    "numero_dossier": "2025-000002",
    "Inventory Number": "1000002",
    "direction": "out",
    "Zeitpunkt der Messung": "2025-03-10 15:00:00 +0100",
    "SensorID": "17",
    "Sensor ID": "17",
    "category": "worker",
    "edad": "45-65",
    "age": "45-65",
    "distrito": "0100201",
}
"""Another value of the column that tells records apart."""
