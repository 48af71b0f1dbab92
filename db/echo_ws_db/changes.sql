-- What did I miss? For a conversation, for a user, for everything that a worker serves.

-- name: of_conversation(conversation, above_rev, limit) -> ChangeRow
-- Everything in a conversation that changed above a rev, as it now is, in rev order; with `last_rev` of the same
-- snapshot. At least one row while the conversation exists: one without a kind when nothing changed.
SELECT h.last_rev, c.rev, c.kind, c.body::text
FROM messages.heads h
LEFT JOIN LATERAL (
    (SELECT s.rev, 'message' AS kind, to_jsonb(s) AS body FROM messages.snapshots s
     WHERE s.conversation_id = $1 AND s.rev > $2 ORDER BY s.rev FETCH FIRST $3 ROWS WITH TIES)
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

-- name: of_user(viewer, above_rev, limit) -> ChangeRow
-- Everything that changed for a user alone above a rev of the user's own, as it now is, in rev order; with `last_rev` of the
-- same snapshot. One row without a kind when nothing changed; none when nothing ever did. `since_rev` of a membership is
-- the conversation's rev in which it changed.
SELECT u.last_rev, c.rev, c.kind, c.body::text
FROM users.heads u
LEFT JOIN LATERAL (
    SELECT m.user_rev AS rev, 'membership' AS kind, jsonb_build_object(
        'user_rev', m.user_rev, 'conversation_id', m.conversation_id, 'role', m.role, 'silenced', m.silenced,
        'left', m.left_seq IS NOT NULL, 'since_rev', m.rev, 'muted_until', m.muted_until, 'marked_unread', m.marked_unread,
        'joined_seq', m.joined_seq, 'cleared_seq', m.cleared_seq,
        'is_deleted', NOT EXISTS (SELECT FROM messages.conversations v
                                  WHERE v.id = m.conversation_id AND v.deleted_at IS NULL)) AS body
    FROM messages.members m WHERE m.user_id = $1 AND m.user_rev > $2
    UNION ALL
    SELECT h.user_rev, 'hidden', to_jsonb(h) FROM messages.hidden h WHERE h.user_id = $1 AND h.user_rev > $2
    UNION ALL
    SELECT f.user_rev, 'thread', to_jsonb(f) FROM messages.follows f WHERE f.user_id = $1 AND f.user_rev > $2
    UNION ALL
    SELECT r.user_rev, 'contact', jsonb_build_object(
        'user_rev', r.user_rev, 'other_user_id', r.other_user_id, 'nickname', c.nickname,
        'favorite', coalesce(c.favorite, FALSE), 'is_contact', c.id IS NOT NULL, 'is_blocked', b.id IS NOT NULL)
    FROM users.relations r
    LEFT JOIN users.contacts c ON c.user_id = r.user_id AND c.contact_user_id = r.other_user_id
    LEFT JOIN users.blocked_users b ON b.user_id = r.user_id AND b.blocked_user_id = r.other_user_id
    WHERE r.user_id = $1 AND r.user_rev > $2
    UNION ALL
    SELECT r.user_rev, 'settings', jsonb_build_object(
        'user_rev', r.user_rev, 'display_name', p.display_name, 'bio', p.bio, 'avatar_url', p.avatar_url,
        'phone_visible', coalesce(p.phone_visible, TRUE), 'profile_visible', coalesce(p.profile_visible, TRUE),
        'show_last_seen', users.level(s.show_last_seen), 'show_profile_photo', users.level(s.show_profile_photo),
        'show_status', users.level(s.show_status), 'show_read_receipts', coalesce(s.show_read_receipts, TRUE),
        'show_typing_indicator', coalesce(s.show_typing_indicator, TRUE),
        'allow_group_invites', users.level(s.allow_group_invites))
    FROM users.revised r
    LEFT JOIN users.profiles p ON p.user_id = r.user_id
    LEFT JOIN users.privacy_settings s ON s.user_id = r.user_id
    WHERE r.user_id = $1 AND r.user_rev > $2
    ORDER BY 1
    LIMIT $3
) c ON TRUE
WHERE u.user_id = $1
ORDER BY c.rev

-- name: places(viewer) -> PlaceRow
-- Where a user takes part, where each of those conversations stands, and up to which seq the user may read nothing there;
-- the user's own stand is the row without a conversation.
SELECT NULL::uuid AS conversation_id, coalesce((SELECT last_rev FROM users.heads WHERE user_id = $1), 0) AS last_rev,
       0::bigint AS joined_seq
UNION ALL
SELECT m.conversation_id, h.last_rev, m.joined_seq
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

-- name: standing(viewer, conversations) -> HeadRow
-- How far each of these conversations goes for one who is a member, or was: up to the departure. None for strangers, and
-- for what is deleted.
SELECT m.conversation_id, coalesce(m.left_rev, h.last_rev) AS last_rev
FROM unnest($2::uuid[]) i(conversation_id)
CROSS JOIN LATERAL (
    SELECT p.conversation_id, p.left_rev FROM messages.members p
    WHERE p.conversation_id = i.conversation_id AND p.user_id = $1
    ORDER BY p.joined_rev DESC
    LIMIT 1
) m
JOIN messages.heads h ON h.conversation_id = m.conversation_id
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL

-- name: missed(viewer, conversations, above_revs, limit) -> MissedRow
-- A page for each of these conversations, as `of_conversation` has it, of what the viewer may read: who left reads nothing
-- that changed since. At least one row for each that `standing` knows.
SELECT i.conversation_id, p.last_rev, c.rev, c.kind, c.body::text
FROM unnest($2::uuid[], $3::bigint[]) i(conversation_id, above_rev)
CROSS JOIN LATERAL (
    SELECT coalesce(m.left_rev, h.last_rev) AS last_rev
    FROM messages.members m
    JOIN messages.heads h ON h.conversation_id = m.conversation_id
    JOIN messages.conversations v ON v.id = m.conversation_id AND v.deleted_at IS NULL
    WHERE m.conversation_id = i.conversation_id AND m.user_id = $1
    ORDER BY m.joined_rev DESC
    LIMIT 1
) p
LEFT JOIN LATERAL (
    (SELECT s.rev, 'message' AS kind, to_jsonb(s) AS body
    FROM messages.snapshots s
    WHERE s.conversation_id = i.conversation_id AND s.rev > i.above_rev AND s.rev <= p.last_rev
      AND EXISTS (SELECT FROM messages.members m
                  WHERE m.conversation_id = i.conversation_id AND m.user_id = $1 AND s.seq > m.joined_seq
                    AND (m.left_seq IS NULL OR (s.seq <= m.left_seq AND s.rev <= m.left_rev)))
      AND NOT EXISTS (SELECT FROM messages.hidden h
                      WHERE h.user_id = $1 AND h.conversation_id = i.conversation_id AND h.seq = s.seq)
    ORDER BY s.rev
    FETCH FIRST $4 ROWS WITH TIES)
    UNION ALL
    SELECT m.rev, 'member', to_jsonb(m) FROM messages.members m
    WHERE m.conversation_id = i.conversation_id AND m.rev > i.above_rev AND m.rev <= p.last_rev
      AND (m.told OR m.user_id = $1)
    UNION ALL
    SELECT v.rev, 'conversation', to_jsonb(v) - 'participants' FROM messages.conversations v
    WHERE v.id = i.conversation_id AND v.rev > i.above_rev AND v.rev <= p.last_rev
    ORDER BY 1
    FETCH FIRST $4 ROWS WITH TIES
) c ON TRUE
ORDER BY i.conversation_id, c.rev

-- name: receipts(viewer, since) -> WatermarkRow
-- The watermarks that moved since a time, in the viewer's conversations, with 30 s of overlap for clocks and commits; and
-- the time, by the one clock that all workers share. At least one row: none moved, or no `since`, is one without a user.
-- The own ones as they are, in channels too; of others what the viewer is told, and only if that moved.
SELECT CURRENT_TIMESTAMP::timestamp AS now, r.conversation_id, r.user_id, r.delivered_seq, r.read_seq
FROM (VALUES (1)) once
LEFT JOIN (
    SELECT m.conversation_id, m.user_id, coalesce(m.told_delivered_seq, m.delivered_seq) AS delivered_seq,
           CASE WHEN s.receipts THEN coalesce(m.told_read_seq, m.read_seq) ELSE 0 END AS read_seq
    FROM messages.members me
    JOIN messages.conversations c ON c.id = me.conversation_id AND c.deleted_at IS NULL AND c.type <> 'channel'
    JOIN messages.members m ON m.conversation_id = me.conversation_id AND m.left_seq IS NULL AND m.user_id <> $1
    CROSS JOIN LATERAL users.sight($1, m.user_id) s
    WHERE me.user_id = $1 AND me.left_seq IS NULL
      AND coalesce(m.told_at, m.receipts_at) > $2::timestamp - INTERVAL '30 seconds'
      AND (s.receipts OR coalesce(m.told_delivered_at, m.receipts_at) > $2::timestamp - INTERVAL '30 seconds')
    UNION ALL
    SELECT me.conversation_id, me.user_id, me.delivered_seq, me.read_seq
    FROM messages.members me
    JOIN messages.conversations c ON c.id = me.conversation_id AND c.deleted_at IS NULL
    WHERE me.user_id = $1 AND me.left_seq IS NULL AND me.receipts_at > $2::timestamp - INTERVAL '30 seconds'
) r ON TRUE
