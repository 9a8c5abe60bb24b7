-- The registry as the releases before migrations made it. Never changed: lakes in service have it.
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
    seq          bigint generated always as identity,   -- order of landing: of two deliveries, the later one is right
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
    held_because  text                              -- in a sentence
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
    primary key (mart, first_day)
);
