-- How durable a commit is.

-- name: settings() -> SettingsRow
-- The settings that decide whether a commit survives a crash.
SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'),
       current_setting('synchronous_commit'), current_setting('synchronous_standby_names')
