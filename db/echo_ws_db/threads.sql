-- Threads: messages and the replies to them. Each viewer sees, and counts, the replies that he or she may read.

-- function: messages.replies
-- The replies to a message that a viewer may read: not those deleted, hidden or kept back.
CREATE OR REPLACE FUNCTION messages.replies(conversation UUID, message UUID, viewer UUID)
RETURNS TABLE (id UUID, seq BIGINT) LANGUAGE sql STABLE AS $$
    SELECT r.id, r.seq
    FROM messages.messages r
    WHERE r.reply_to_id = message AND r.conversation_id = conversation AND r.deleted IS NOT TRUE
      AND r.withheld_from IS DISTINCT FROM viewer AND messages.is_readable(conversation, viewer, r.seq, r.rev)
$$;

-- function: messages.follow
-- Follow the replies to a message, or no longer; as it was already: nothing changes.
CREATE OR REPLACE FUNCTION messages.follow(
    conversation UUID, message UUID, follower UUID, is_on BOOLEAN, OUT outcome TEXT)
LANGUAGE plpgsql AS $$
DECLARE
    was_on BOOLEAN;
BEGIN
    PERFORM FROM users.heads h WHERE h.user_id = follower FOR NO KEY UPDATE;
    SELECT f.followed INTO was_on FROM messages.follows f
    WHERE f.user_id = follower AND f.message_id = message AND f.conversation_id = conversation;
    outcome = CASE WHEN (was_on AND NOT is_on) OR (messages.readable(conversation, message, follower)).id IS NOT NULL
                   THEN 'ok' ELSE 'not_found' END;
    IF outcome = 'ok' AND is_on <> coalesce(was_on, FALSE) THEN
        INSERT INTO messages.follows AS f (user_id, message_id, conversation_id, followed, user_rev)
        VALUES (follower, message, conversation, is_on, users.take_rev(follower))
        ON CONFLICT (user_id, message_id) DO UPDATE SET followed = excluded.followed, user_rev = excluded.user_rev;
    END IF;
END
$$;

-- name: follow(conversation, message, follower, is_on) -> None
SELECT messages.follow($1, $2, $3, $4) AS outcome

-- name: summary(conversation, message, viewer) -> ThreadRow
-- A message that the viewer may read, and how many replies it has.
SELECT to_jsonb(s)::text AS snapshot, (SELECT count(*) FROM messages.replies($1, $2, $3)) AS replies,
       EXISTS (SELECT FROM messages.follows f WHERE f.user_id = $3 AND f.message_id = $2 AND f.followed) AS followed
FROM messages.snapshots s
WHERE s.id = $2 AND (messages.readable($1, $2, $3)).id IS NOT NULL

-- name: replies(conversation, message, viewer, seq, limit) -> ReadRow
-- The replies above `seq`, the first one first.
SELECT s.seq, to_jsonb(s)::text AS snapshot
FROM (SELECT x.id, x.seq FROM messages.replies($1, $2, $3) x WHERE x.seq > $4 ORDER BY x.seq LIMIT $5) r
JOIN messages.snapshots s ON s.id = r.id
ORDER BY r.seq

-- name: page(conversation, viewer, before, is_followed, limit) -> ThreadListRow
-- Messages with replies below a place in the order, which is the seq of the last reply that there ever was, descending.
SELECT t.last_seq, to_jsonb(s)::text AS snapshot, r.replies, to_jsonb(l)::text AS last_reply,
       EXISTS (SELECT FROM messages.follows f WHERE f.user_id = $2 AND f.message_id = t.message_id AND f.followed) AS followed
FROM messages.thread_heads t
JOIN messages.snapshots s ON s.id = t.message_id
CROSS JOIN LATERAL (SELECT count(*) AS replies, max(x.seq) AS seq FROM messages.replies($1, t.message_id, $2) x) r
JOIN messages.snapshots l ON l.conversation_id = $1 AND l.seq = r.seq
WHERE t.conversation_id = $1 AND t.last_seq < $3
  AND (NOT $4 OR EXISTS (SELECT FROM messages.follows f
                         WHERE f.user_id = $2 AND f.message_id = t.message_id AND f.followed))
  AND (messages.readable($1, t.message_id, $2)).id IS NOT NULL
ORDER BY t.last_seq DESC
LIMIT $5
