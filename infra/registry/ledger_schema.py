"""Where the ledger's lines are stored: the table of schema ``ledger`` refuses whatever is not the next line."""

from __future__ import annotations

BEGINNING = "0" * 64
"""What the first line has in the place of the hash of the line before."""

SCHEMA = f"""
create schema if not exists ledger;

create table if not exists ledger.line (
    seq         bigint primary key,
    recorded_at timestamptz not null,
    kind        text not null,
    body        jsonb not null,
    previous    text not null unique,               -- hash of the line before: two lines never follow the same one
    hash        text not null unique                -- sha256 of the canonical JSON of all the others
);

create or replace function ledger.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is append-only: % refused', lower(tg_op);
end
$$;

create or replace function ledger.follow_the_last_line() returns trigger language plpgsql as $$
declare
    last record;
begin
    select seq, hash, recorded_at into last from ledger.line order by seq desc limit 1;
    if new.seq <> coalesce(last.seq, 0) + 1 or new.previous <> coalesce(last.hash, '{BEGINNING}') then
        raise exception 'line % does not follow the last line of the ledger, %', new.seq, coalesce(last.seq, 0)
            using errcode = 'unique_violation';
    end if;
    if new.recorded_at < last.recorded_at then
        raise exception 'line % is older than the last line of the ledger: the clock went back', new.seq;
    end if;
    return new;
end
$$;

create or replace trigger append_only before update or delete or truncate on ledger.line
    for each statement execute function ledger.refuse_change();
create or replace trigger in_order before insert on ledger.line
    for each row execute function ledger.follow_the_last_line();
"""
