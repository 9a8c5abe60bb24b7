"""The lake's operational state, in the schema ``registry`` of the PostgreSQL database ``lake``.

Three append-mostly tables: every delivery ever landed and what became of it, every commit to a conformed table, every
release of a mart. Pending work is derived from them, never from an event: a mart is due for the quarters touched by
commits newer than the one its last release had seen.
"""

SCHEMA = """
create schema if not exists registry;

create table if not exists registry.delivery (
    silo         text not null,
    delivery_id  text not null,                     -- sha256 of the delivered bytes
    object_key   text not null,                     -- where the bytes are, in bucket landing
    file_name    text not null,
    bytes        bigint not null,
    format       text,                              -- named by the sender, or recognised
    corrects     text,                              -- delivery_id that this one was declared to correct
    status       text not null check (status in ('landed', 'committed', 'refused')),
    reason       text,                              -- why it was refused, in a sentence
    rows_in      bigint not null default 0,
    accepted     bigint not null default 0,
    quarantined  bigint not null default 0,
    by_rule      jsonb not null default '{}',       -- quarantined rows by rule
    warnings     jsonb not null default '{}',       -- accepted rows by warning rule
    landed_at    timestamptz not null default now(),
    settled_at   timestamptz,                       -- committed or refused
    primary key (silo, delivery_id),
    check (rows_in = accepted + quarantined)
);

create table if not exists registry.commit (
    seq          bigint generated always as identity primary key,
    silo         text not null,
    dataset      text not null,
    delivery_id  text not null,
    days         date[] not null,                   -- event days whose rows changed
    snapshot_id  bigint,
    committed_at timestamptz not null default now(),
    unique (dataset, delivery_id)
);

create table if not exists registry.release (
    mart              text not null,
    version           integer not null,
    build_id          text not null,
    code_version      text not null,                -- hash of the dbt project that built it
    commit_seq        bigint not null,              -- newest commit it had seen
    rows              bigint not null,
    period_start      date,
    period_end        date,
    sha256            text not null,                -- of the manifest's canonical content
    manifest_key      text not null,                -- in bucket lake
    snapshot_id       bigint,
    status            text not null check (status in ('prepared', 'released')),
    released_at       timestamptz,
    primary key (mart, version)
);
"""
