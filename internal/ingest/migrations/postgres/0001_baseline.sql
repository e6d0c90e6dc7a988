-- How many entities of each kind a provider had after its last full run.
-- fingerprint is that of the settings of the run: a change of settings may
-- change the numbers by any amount.
CREATE TABLE ingest_baseline (
  provider text NOT NULL,
  kind text NOT NULL,
  fingerprint text NOT NULL,
  entities bigint NOT NULL,
  PRIMARY KEY (provider, kind)
);
