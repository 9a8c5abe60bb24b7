"""Every table of the schema ``registry``, as it is now; :mod:`infra.registry.migrations` changes older ones."""

from __future__ import annotations

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
    status       text not null check (status in ('landed', 'committed', 'refused', 'parked')),
    reason       text,                              -- why it was refused or parked, or why the last attempt failed
    attempts     integer not null default 0,        -- begun and not settled, as far as they count: begin_attempt
    rows_in      bigint not null default 0,
    accepted     bigint not null default 0,
    quarantined  bigint not null default 0,
    by_rule      jsonb not null default '{}',       -- quarantined rows by rule
    warnings     jsonb not null default '{}',       -- accepted rows by warning rule
    landed_at    timestamptz not null default now(),
    settled_at   timestamptz,                       -- committed, refused or parked
    seq          bigint generated always as identity,   -- order of landing: of two deliveries, the later one is right
    replays      integer not null default 0,        -- how often it was asked for to be conformed again
    last_attempt bigint,                            -- its place among all attempts of the silo
    known_formats text,                             -- digest of the formats that did not explain it, when refused
    landed_on    date,                              -- the city's day, by the lake's clock; null: before it was kept
    covers       date[],                            -- days that its sender declares the silo complete for
    also_named   text[] not null default '{}',      -- other names under which the same bytes came
    undeclared   jsonb not null default '{}',       -- accepted rows by day, of days that nobody had declared by then
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
    replay       integer not null default 0,        -- the newest replay that is in the table
    unique (dataset, delivery_id)
);

create table if not exists registry.cover (         -- which days a silo is complete for: lines are added, never changed
    seq          bigint generated always as identity primary key,
    silo         text not null,
    days         date[] not null,
    covers       boolean not null,                  -- false: taken back. Of each day, the newest line stands
    source       text not null check (source in ('note', 'format', 'steward')),
    delivery_id  text,                              -- whose note, or whose name, says so
    said_by      text not null,
    said_at      timestamptz not null,
    reason       text
);

create table if not exists registry.go_ahead (      -- what publication need not wait for, because a steward says so
    seq          bigint generated always as identity primary key,
    silo         text not null,
    missing      date[] not null default '{}',      -- days of a period that is published without them
    first_day    date,                              -- of that period
    last_day     date,
    delivery_id  text,                              -- or a landed or parked delivery that no period waits for
    said_by      text not null,
    said_at      timestamptz not null,
    reason       text not null
);

create table if not exists registry.replay (        -- committed deliveries that were conformed again, and how they were
    silo        text not null,
    delivery_id text not null,
    number      integer not null,
    reason      text not null,                      -- why, in a sentence
    asked_by    text not null,
    asked_at    timestamptz not null,
    before      jsonb not null,                     -- its receipt until then
    primary key (silo, delivery_id, number)
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
    manifest          jsonb not null,               -- all that is needed to finish a prepared release
    snapshot_id       bigint,
    status            text not null check (status in ('prepared', 'released')),
    released_at       timestamptz,
    primary key (mart, version)
);

create table if not exists registry.mart (
    mart          text primary key,
    silo          text not null,
    build_id      text,                             -- newest build whose content is released, changed or not
    held_build_id text,                             -- newest build that was held back, null once a later one passed
    held_because  text,                             -- in a sentence
    tells_exact   boolean not null default false    -- readers have digests of exact counts, from an older release
);

create table if not exists registry.unit (          -- published units, and what was committed to their days since
    mart          text not null,
    first_day     date not null,
    last_day      date not null,
    edition       integer not null,
    silo          text not null,
    rows          bigint not null,                  -- conformed rows of its days when its newest edition was built
    late_rows     bigint not null default 0,        -- how many more there are now
    commit_seq    bigint not null,                  -- newest commit of the silo that late_rows knows of
    missing       date[] not null default '{}',     -- days that nobody had declared when its newest edition was built
    primary key (mart, first_day)
);

create table if not exists registry.key (           -- every key ever used, by a value that does not give it away
    silo         text not null,
    month        text not null,
    check_value  text not null,
    primary key (silo, month)
);

create table if not exists registry.clock (         -- when the lake was last at work, by its own clock
    seq          bigint generated always as identity primary key,
    seen         timestamptz not null,              -- of the newest line only, it goes on
    confirmed_by text,                              -- who said that the clock is right although it leapt to here
    reason       text
);

create table if not exists registry.restoration (   -- when this lake was made from a backup
    seq          bigint generated always as identity primary key,
    backup_at    timestamptz not null,
    restored_at  timestamptz not null,
    settled_at   timestamptz,                       -- when it was said that the lake before published nothing more
    settled_by   text,
    reason       text
);

create table if not exists registry.approval (      -- what a steward was asked, and the answer
    reference  text primary key,                     -- of the Airflow run, or of the command
    kind       text not null check (kind in ('correction', 'contract', 'cover', 'publication')),
    subject    text not null,                        -- mart and first day, contract and version, silo and days
    reason     text not null,                        -- why it was asked for
    asked_by   text,
    asked_at   timestamptz not null,
    approved   boolean not null,
    decided_by text not null,
    decided_at timestamptz not null,
    remark     text,                                 -- what the steward said about it
    seq        bigint generated always as identity
);

create table if not exists registry.contract (      -- the versions of contracts that this lake went by
    seq      bigint generated always as identity primary key,
    kind     text not null check (kind in ('dataset', 'mart')),
    name     text not null,
    version  text not null,
    document jsonb not null,                         -- infra.contract_versions.Document
    since    timestamptz not null,
    approval text                                    -- its reference; null: it needed none
);

create table if not exists registry.alert (         -- what people were, or are to be, warned of: one line per episode
    alert_id     bigint generated always as identity primary key,
    kind         text not null,                     -- also the name of its runbook
    key          text not null,                     -- what it is about, within its kind
    subject      text not null,
    silo_or_mart text,
    owner        text not null,                     -- who has to act
    sentence     text not null,
    details      jsonb not null default '{}',       -- figures, rules, row numbers; never a value
    runbook      text not null,
    first_seen   timestamptz not null,
    last_seen    timestamptz not null,
    count        bigint not null default 1,         -- how often it was seen
    resolved_at  timestamptz,
    resolved_because text
);

create unique index if not exists alert_standing on registry.alert (kind, key) where resolved_at is null;

create table if not exists registry.notice (        -- what was sent of an alert, by channel
    alert_id     bigint not null,
    phase        text not null check (phase in ('begun', 'resolved')),
    channel      text not null,                     -- email, webhook
    attempts     integer not null default 0,
    error        text,                              -- why the last attempt failed
    sent_at      timestamptz,
    primary key (alert_id, phase, channel)
);

create table if not exists registry.dag_run (       -- what Airflow ran, as far as it was asked: it forgets, this stays
    dag_id     text not null,
    run_id     text not null,
    kind       text not null,                       -- scheduled, asset_triggered, backfill, manual...
    succeeded  boolean not null,
    started_at timestamptz not null,
    ended_at   timestamptz not null,
    primary key (dag_id, run_id)
);
"""
