-- In which document of its file (from 1), and from which line, an entity was
-- read; 0 if that is not known.
ALTER TABLE entity_edge ADD COLUMN document integer NOT NULL DEFAULT 0;
ALTER TABLE entity_edge ADD COLUMN line integer NOT NULL DEFAULT 0;
ALTER TABLE entity_claim ADD COLUMN document integer NOT NULL DEFAULT 0;
ALTER TABLE entity_claim ADD COLUMN line integer NOT NULL DEFAULT 0;

-- Documents that one parent led to and that do not count, since another one
-- that it led to has the same ref. "place" is their order.
CREATE TABLE entity_twice (
    parent_id     integer NOT NULL,
    place         integer NOT NULL,
    ref           text NOT NULL,
    location_key  text NOT NULL,
    body          text NOT NULL,
    document      integer NOT NULL,
    line          integer NOT NULL,
    kept_key      text NOT NULL,
    kept_document integer NOT NULL,
    since         integer NOT NULL,
    PRIMARY KEY (parent_id, place)
);
CREATE INDEX entity_twice_ref ON entity_twice (ref);
