-- Times are milliseconds since 1970, by the clock of the database.
CREATE TABLE scaffolder_task (
  id           uuid PRIMARY KEY,
  spec         text NOT NULL,
  status       text NOT NULL,
  created_by   text,
  created_at   bigint NOT NULL,
  heartbeat_at bigint,
  -- sealed; NULL once the task ended
  secrets      text,
  cancelled    boolean NOT NULL DEFAULT false,
  -- grows with every run: what an earlier run still writes does not count
  claim        bigint NOT NULL DEFAULT 0,
  lease_until  bigint
);
CREATE INDEX scaffolder_task_status ON scaffolder_task (status, created_at);
CREATE INDEX scaffolder_task_created_by ON scaffolder_task (created_by, created_at);
CREATE INDEX scaffolder_task_created_at ON scaffolder_task (created_at);

CREATE TABLE scaffolder_task_event (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id    uuid NOT NULL REFERENCES scaffolder_task (id) ON DELETE CASCADE,
  type       text NOT NULL,
  body       text NOT NULL,
  created_at bigint NOT NULL
);
CREATE INDEX scaffolder_task_event_task ON scaffolder_task_event (task_id, id);

-- What finished steps (kind 'step', key the id of the step) and checkpoints
-- (kind 'checkpoint') left for the next run.
CREATE TABLE scaffolder_task_state (
  task_id uuid NOT NULL REFERENCES scaffolder_task (id) ON DELETE CASCADE,
  kind    text NOT NULL,
  key     text NOT NULL,
  value   text NOT NULL,
  PRIMARY KEY (task_id, kind, key)
);

-- The key that seals secrets where the configuration has none.
CREATE TABLE scaffolder_key (
  id     bigint PRIMARY KEY,
  secret text NOT NULL
);
