-- Archives of workspaces, in chunks so that nobody needs a whole one in memory.
CREATE TABLE scaffolder_workspace_snapshot (
  task_id     text NOT NULL,
  snapshot_id text NOT NULL,
  -- how many chunks there are; NULL until all are saved
  chunks      INTEGER,
  -- milliseconds since 1970
  saved_at    INTEGER NOT NULL,
  PRIMARY KEY (task_id, snapshot_id)
);

CREATE TABLE scaffolder_workspace_chunk (
  task_id     text NOT NULL,
  snapshot_id text NOT NULL,
  number      INTEGER NOT NULL,
  data        BLOB NOT NULL,
  PRIMARY KEY (task_id, snapshot_id, number)
);
