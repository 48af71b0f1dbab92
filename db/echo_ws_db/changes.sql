-- What did I miss? For a conversation, for a user, for everything that a worker serves.

-- name: of_conversation(conversation, above_rev, limit) -> ChangeRow
-- Everything in a conversation that changed above a rev, as it now is, in rev order; with `last_rev` of the same
-- snapshot. At least one row while the conversation exists: one without a kind when nothing changed.
SELECT h.last_rev, c.rev, c.kind, c.body::text
FROM messages.heads h
LEFT JOIN LATERAL (
    SELECT s.rev, 'message' AS kind, to_jsonb(s) AS body FROM messages.snapshots s WHERE s.conversation_id = $1 AND s.rev > $2
    UNION ALL
    SELECT m.rev, 'member', to_jsonb(m) FROM messages.members m WHERE m.conversation_id = $1 AND m.rev > $2
    UNION ALL
    SELECT v.rev, 'conversation', to_jsonb(v) - 'participants'
    FROM messages.conversations v WHERE v.id = $1 AND v.rev > $2
    ORDER BY 1
    FETCH FIRST $3 ROWS WITH TIES
) c ON TRUE
WHERE h.conversation_id = $1
ORDER BY c.rev

-- name: of_user(viewer, above_rev) -> MembershipRow
-- The memberships of a user that changed above a rev of the user's own, with `last_rev` of the same snapshot. A
-- conversation that is deleted has no `since_rev`, the conversation's rev in which the membership changed.
SELECT u.last_rev, m.user_rev, m.conversation_id, m.role, m.silenced, m.left_seq IS NOT NULL AS has_left,
       CASE WHEN c.id IS NOT NULL THEN m.rev END AS since_rev
FROM users.heads u
LEFT JOIN messages.members m ON m.user_id = u.user_id AND m.user_rev > $2
LEFT JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
WHERE u.user_id = $1
ORDER BY m.user_rev

-- name: places(viewer) -> PlaceRow
-- Where a user takes part, and where each of those conversations stands; the user's own stand is the row without one.
SELECT NULL::uuid AS conversation_id, coalesce((SELECT last_rev FROM users.heads WHERE user_id = $1), 0) AS last_rev
UNION ALL
SELECT m.conversation_id, h.last_rev
FROM messages.members m
JOIN messages.heads h ON h.conversation_id = m.conversation_id
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
WHERE m.user_id = $1 AND m.left_seq IS NULL

-- name: conversation_heads(conversations) -> HeadRow
-- The sweep: where these conversations stand.
SELECT conversation_id, last_rev FROM messages.heads WHERE conversation_id = ANY ($1::uuid[])

-- name: user_heads(viewers) -> HeadRow
-- The sweep: where these users stand.
SELECT user_id, last_rev FROM users.heads WHERE user_id = ANY ($1::uuid[])
