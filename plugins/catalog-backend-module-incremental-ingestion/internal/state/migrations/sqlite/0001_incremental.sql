-- Incremental ingestion. Times are milliseconds since 1970 (UTC). No name is
-- that of a table of Backstage's module.

-- One pass through the source of a provider. completion_ticket is "open" until
-- the pass, and the rest after it, are over; then it is the id. fence grows
-- with each run of the provider's task: what an earlier run still wants to
-- write is refused.
CREATE TABLE incremental_ingestion (
    id                     text PRIMARY KEY,
    provider               text NOT NULL,
    status                 text NOT NULL,
    next_action            text NOT NULL,
    next_action_at         integer NOT NULL,
    last_error             text,
    attempts               integer NOT NULL DEFAULT 0,
    fence                  integer NOT NULL DEFAULT 0,
    created_at             integer NOT NULL,
    ingestion_completed_at integer,
    rest_completed_at      integer,
    completion_ticket      text NOT NULL,
    UNIQUE (provider, completion_ticket)
);

-- A page that is in the catalog. cursor is where the next one begins; it is
-- NULL for the last page.
CREATE TABLE incremental_mark (
    id           text PRIMARY KEY,
    ingestion_id text NOT NULL REFERENCES incremental_ingestion (id) ON DELETE CASCADE,
    sequence     integer NOT NULL,
    cursor       text,
    created_at   integer NOT NULL,
    UNIQUE (ingestion_id, sequence)
);

-- What a provider has in the catalog, or is about to have. ingestion_id is the
-- last ingestion that found it in the source, '' if none has yet.
CREATE TABLE incremental_entity (
    provider     text NOT NULL,
    ref          text NOT NULL,
    ingestion_id text NOT NULL DEFAULT '',
    PRIMARY KEY (provider, ref)
);
CREATE INDEX incremental_entity_ingestion ON incremental_entity (provider, ingestion_id, ref);
