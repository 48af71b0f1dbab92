-- migrate:up

-- Who is here: a row for each user and worker, which stands as long as the worker renews its lease. Unlogged: after a crash
-- of PostgreSQL the workers write it anew.
CREATE UNLOGGED TABLE users.leases (
    worker UUID PRIMARY KEY,
    until TIMESTAMP NOT NULL
);
COMMENT ON TABLE users.leases IS 'Workers, and until when their word about who is here counts';

CREATE UNLOGGED TABLE users.presences (
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    worker UUID NOT NULL REFERENCES users.leases(worker) ON DELETE CASCADE,
    status VARCHAR(20) NOT NULL,
    PRIMARY KEY (user_id, worker)
);
COMMENT ON TABLE users.presences IS 'What a worker says of a user who is connected to it; users.profiles.status is what follows from all';
CREATE INDEX idx_presences_worker ON users.presences(worker);

-- To one who is blocked the other one seems to have gone when the block began, and stays so.
ALTER TABLE users.blocked_users ADD COLUMN last_seen TIMESTAMP NULL;
COMMENT ON COLUMN users.blocked_users.last_seen IS 'When the blocked one sees the other one for the last time';

CREATE FUNCTION users.note_last_seen() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.last_seen = (SELECT CASE p.status WHEN 'offline' THEN p.last_seen ELSE CURRENT_TIMESTAMP END
                     FROM users.profiles p WHERE p.user_id = NEW.user_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER note_last_seen BEFORE INSERT ON users.blocked_users
    FOR EACH ROW EXECUTE FUNCTION users.note_last_seen();

-- migrate:down

DROP TRIGGER note_last_seen ON users.blocked_users;
DROP FUNCTION users.note_last_seen();
ALTER TABLE users.blocked_users DROP COLUMN last_seen;
DROP TABLE users.presences, users.leases;
