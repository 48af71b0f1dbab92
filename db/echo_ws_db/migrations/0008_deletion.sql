-- migrate:up

-- What is left to do of a deleted account: it is out of reach at once, and the rest is done piece by piece. A row goes
-- when nothing is left.
CREATE TABLE auth.deletions (
    user_id UUID PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE,
    content VARCHAR(10) NOT NULL CHECK (content IN ('keep', 'erase')),
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
COMMENT ON TABLE auth.deletions IS 'Deleted accounts of which something is left to do';
COMMENT ON COLUMN auth.deletions.content IS 'Whether what the user wrote stays or becomes tombstones';

-- One runner for each job among all workers of all servers, by a lease that runs out when the runner is dead.
CREATE TABLE auth.housekeeping (
    job VARCHAR(50) PRIMARY KEY,
    due_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    runner UUID NULL,
    leased_until TIMESTAMP NOT NULL DEFAULT '-infinity',
    runs BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    succeeded_at TIMESTAMP NULL
);
COMMENT ON TABLE auth.housekeeping IS 'What is done on a schedule: when it is due, and who is at it';
COMMENT ON COLUMN auth.housekeeping.runner IS 'The worker that has, or had, the lease';

-- migrate:down

DROP TABLE auth.housekeeping;
DROP TABLE auth.deletions;
