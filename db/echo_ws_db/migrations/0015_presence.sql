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

-- migrate:down

DROP TABLE users.presences, users.leases;
