-- Presence: who is here, by the leases of workers; users.profiles shows what follows.

-- name: renew(worker, lasts_s) -> bool
-- Renew a worker's lease; true where it had none, and all that it said before is forgotten.
INSERT INTO users.leases (worker, until) VALUES ($1, CURRENT_TIMESTAMP + make_interval(secs => $2))
ON CONFLICT (worker) DO UPDATE SET until = excluded.until
RETURNING xmax = 0

-- function: users.show_presences
-- Write into the profiles what follows from all that workers say, where that is something new, and return it. The profiles
-- are locked: of two workers that write of one user, the second sees what the first has written.
CREATE OR REPLACE FUNCTION users.show_presences(who UUID[], left_at TIMESTAMP[])
RETURNS TABLE (user_id UUID, status TEXT, last_seen TIMESTAMP) LANGUAGE sql AS $$
    UPDATE users.profiles p
    SET status = n.status, last_seen = CASE n.status WHEN 'offline' THEN n.left_at ELSE CURRENT_TIMESTAMP END
    FROM (SELECT i.user_id, i.left_at, coalesce((
              SELECT s.status FROM users.presences s JOIN users.leases l ON l.worker = s.worker AND l.until > CURRENT_TIMESTAMP
              WHERE s.user_id = i.user_id
              ORDER BY array_position(ARRAY['busy', 'online', 'away'], s.status::text) LIMIT 1), 'offline') AS status
          FROM unnest(who, left_at) i(user_id, left_at)) n
    WHERE p.user_id = n.user_id AND p.status IS DISTINCT FROM n.status
    RETURNING p.user_id, p.status, p.last_seen
$$;

-- function: users.note_presences
-- Take a worker's word for its users; `offline` takes it back. Returns whose shown presence is another now; nothing is
-- taken from a worker without a lease.
CREATE OR REPLACE FUNCTION users.note_presences(by_worker UUID, who UUID[], statuses TEXT[], ago_s FLOAT8[])
RETURNS TABLE (user_id UUID, status TEXT, last_seen TIMESTAMP) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM users.leases WHERE worker = by_worker FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM users.profiles p WHERE p.user_id = ANY (who) ORDER BY p.user_id FOR NO KEY UPDATE;
    DELETE FROM users.presences p USING unnest(who, statuses) i(user_id, status)
    WHERE p.user_id = i.user_id AND p.worker = by_worker AND i.status = 'offline';
    INSERT INTO users.presences AS p (user_id, worker, status)
    SELECT i.user_id, by_worker, i.status
    FROM unnest(who, statuses) i(user_id, status) JOIN users.profiles f ON f.user_id = i.user_id
    WHERE i.status <> 'offline'
    ON CONFLICT (user_id, worker) DO UPDATE SET status = excluded.status;
    RETURN QUERY SELECT * FROM users.show_presences(
        who, ARRAY(SELECT CURRENT_TIMESTAMP - make_interval(secs => a) FROM unnest(ago_s) WITH ORDINALITY i(a, n) ORDER BY n)
             ::timestamp[]);
END
$$;

-- name: note(worker, who, statuses, ago_s) -> PresenceRow
-- Take a worker's word for its users.
SELECT user_id, status, last_seen FROM users.note_presences($1, $2, $3, $4)

-- function: users.reap_presences
-- Forget workers whose lease has run out, and return whose shown presence is another now.
CREATE OR REPLACE FUNCTION users.reap_presences() RETURNS TABLE (user_id UUID, status TEXT, last_seen TIMESTAMP)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    dead UUID[] = ARRAY(SELECT worker FROM users.leases WHERE until <= CURRENT_TIMESTAMP ORDER BY worker
                        FOR UPDATE SKIP LOCKED);
    who UUID[];
    left_at TIMESTAMP[];
BEGIN
    IF dead = '{}' THEN
        RETURN;
    END IF;
    SELECT array_agg(g.user_id ORDER BY g.user_id), array_agg(g.until ORDER BY g.user_id) INTO who, left_at
    FROM (SELECT p.user_id, max(l.until) AS until FROM users.presences p JOIN users.leases l USING (worker)
          WHERE p.worker = ANY (dead) GROUP BY p.user_id) g;
    PERFORM FROM users.profiles p WHERE p.user_id = ANY (who) ORDER BY p.user_id FOR NO KEY UPDATE;
    DELETE FROM users.leases WHERE worker = ANY (dead);
    RETURN QUERY SELECT * FROM users.show_presences(who, left_at);
END
$$;

-- name: reap() -> PresenceRow
-- Forget workers whose lease has run out.
SELECT user_id, status, last_seen FROM users.reap_presences()

-- name: leave(worker) -> None
-- Give a worker's lease back if no other worker is there to take its users over; else it runs out while they come back.
UPDATE users.leases SET until = CURRENT_TIMESTAMP
WHERE worker = $1 AND NOT EXISTS (SELECT FROM users.leases o WHERE o.worker <> $1 AND o.until > CURRENT_TIMESTAMP)

-- name: tidy() -> PresenceRow
-- Show nobody as here of whom no worker says so: what is left after PostgreSQL and a worker crashed together.
UPDATE users.profiles p SET status = 'offline'
WHERE p.status IN ('online', 'away', 'busy') AND NOT EXISTS (SELECT FROM users.presences s WHERE s.user_id = p.user_id)
RETURNING p.user_id, p.status, p.last_seen

-- name: sights(viewers, owners) -> SightRow
-- What each viewer may know of the presence of the owner beside, by `users.sight`. One who is blocked sees what was when the
-- block began, and nothing that comes.
SELECT i.viewer, i.owner,
       CASE WHEN s.status THEN CASE WHEN s.gone_at IS NULL THEN coalesce(p.status, 'offline') ELSE 'offline' END END,
       CASE WHEN s.last_seen THEN coalesce(s.gone_at, p.last_seen) END,
       s.status AND s.gone_at IS NULL, s.last_seen AND s.gone_at IS NULL
FROM unnest($1::uuid[], $2::uuid[]) i(viewer, owner)
JOIN users.profiles p ON p.user_id = i.owner
JOIN auth.users u ON u.id = i.owner AND u.deleted_at IS NULL
CROSS JOIN LATERAL users.sight(i.viewer, i.owner) s
