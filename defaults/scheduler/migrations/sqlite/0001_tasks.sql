CREATE TABLE IF NOT EXISTS backstage_backend_tasks__tasks (
  id varchar(255) PRIMARY KEY NOT NULL,
  settings_json text NOT NULL,
  next_run_start_at datetime,
  current_run_ticket text,
  current_run_started_at datetime,
  current_run_expires_at datetime,
  last_run_error_json text,
  last_run_ended_at datetime
);

-- How often each task was claimed: the fence of its last run.
CREATE TABLE backstage_backend_tasks__fences (
  task_id varchar(255) PRIMARY KEY NOT NULL,
  fence integer NOT NULL
);
