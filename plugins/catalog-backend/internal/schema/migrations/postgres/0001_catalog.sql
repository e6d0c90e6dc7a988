-- No name is that of a table of Backstage's catalog, so that both may be in
-- one database. Times are milliseconds since 1970 (UTC). Refs, keys and values compare by
-- byte, so that order and prefix search do not depend on the server's locale.

-- An entity from the moment somebody hands it in. "final" is what clients see;
-- it is NULL until the entity was processed for the first time.
CREATE TABLE entity (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid              text COLLATE "C" NOT NULL UNIQUE,
    ref              text COLLATE "C" NOT NULL UNIQUE,
    location_key     text COLLATE "C",
    unprocessed      text NOT NULL,
    unprocessed_hash text NOT NULL,
    processed        text,
    result_hash      text,
    cache            text,
    errors           text,
    final            text,
    final_hash       text,
    discovered_at    bigint NOT NULL,
    updated_at       bigint
);

-- The queue of processing, apart from the wide rows so that claiming work
-- does not rewrite them. Lane 0 is interactive, 1 new, 2 periodic. "holder" is
-- the instance that claimed the row, 0 once it settled it: what another one
-- that had it before still wants to write is refused.
CREATE TABLE entity_due (
    entity_id   bigint PRIMARY KEY,
    lane        smallint NOT NULL,
    next_at     bigint NOT NULL,
    lease_until bigint NOT NULL DEFAULT 0,
    holder      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX entity_due_order ON entity_due (lane, next_at);

-- Entities whose final form has to be built anew.
CREATE TABLE entity_dirty (
    entity_id bigint PRIMARY KEY,
    since     bigint NOT NULL
) WITH (fillfactor = 50);

-- Who hands an entity in: a provider, or the entity that emitted it.
CREATE TABLE provider_edge (
    provider  text COLLATE "C" NOT NULL,
    target_id bigint NOT NULL,
    PRIMARY KEY (provider, target_id)
);
CREATE INDEX provider_edge_target ON provider_edge (target_id);
CREATE TABLE entity_edge (
    parent_id bigint NOT NULL,
    target_id bigint NOT NULL,
    PRIMARY KEY (parent_id, target_id)
);
CREATE INDEX entity_edge_target ON entity_edge (target_id);

-- Hand-ins that were refused, since another location key holds the ref. They
-- are taken up when the holder goes. "provider" is '' for one of a parent,
-- "parent_id" 0 for one of a provider, "location_key" '' for none.
CREATE TABLE entity_claim (
    ref          text COLLATE "C" NOT NULL,
    provider     text COLLATE "C" NOT NULL,
    parent_id    bigint NOT NULL,
    location_key text COLLATE "C" NOT NULL,
    body         text NOT NULL,
    hash         text NOT NULL,
    claimed_at   bigint NOT NULL,
    PRIMARY KEY (ref, provider, parent_id)
);
CREATE INDEX entity_claim_provider ON entity_claim (provider);
CREATE INDEX entity_claim_parent ON entity_claim (parent_id);

-- Directed triples, owned by the entity whose processing emitted them.
CREATE TABLE relation (
    origin_id  bigint NOT NULL,
    source_ref text COLLATE "C" NOT NULL,
    type       text COLLATE "C" NOT NULL,
    target_ref text COLLATE "C" NOT NULL,
    PRIMARY KEY (origin_id, source_ref, type, target_ref)
);
CREATE INDEX relation_source ON relation (source_ref);
CREATE INDEX relation_target ON relation (target_ref);

-- What an entity depends on beyond its own text ("url:…", "file:…").
CREATE TABLE refresh_key (
    entity_id bigint NOT NULL,
    key       text COLLATE "C" NOT NULL,
    PRIMARY KEY (entity_id, key)
);
CREATE INDEX refresh_key_key ON refresh_key (key);

-- The flattened final entities. A NULL value is one too long to compare.
-- "original" is set only where it differs from the lower-cased value, and
-- "item" marks a string of an array: the row (k, v, item) also stands for the
-- key "k.v" with the value true.
CREATE TABLE search_key (
    id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE
);
CREATE TABLE entity_search (
    entity_id bigint NOT NULL,
    key_id    bigint NOT NULL,
    value     text COLLATE "C",
    original  text COLLATE "C",
    item      boolean NOT NULL
);
CREATE INDEX entity_search_value ON entity_search (key_id, value, entity_id);
CREATE INDEX entity_search_entity ON entity_search (entity_id, key_id);

-- Locations that users registered.
CREATE TABLE location (
    id         text COLLATE "C" PRIMARY KEY,
    type       text COLLATE "C" NOT NULL,
    target     text COLLATE "C" NOT NULL,
    entity_ref text COLLATE "C" NOT NULL,
    UNIQUE (type, target)
);

-- What changed in the final entities, in order; indexes and caches follow it.
CREATE TABLE entity_change (
    version   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity_id bigint NOT NULL,
    deleted   boolean NOT NULL
);

-- Entities that lost somebody who hands them in; they are looked at once
-- "since" is a while ago, and removed if nobody has handed them in again.
CREATE TABLE orphan_candidate (
    entity_id bigint PRIMARY KEY,
    since     bigint NOT NULL
);

-- What the stored results were made with ("processing": a fingerprint of the
-- processors and of the configuration that they see).
CREATE TABLE fingerprint (
    name  text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);
